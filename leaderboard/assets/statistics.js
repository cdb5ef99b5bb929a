"use strict";
/* Whether two systems differ, as mr_st.measures.significance and mr_st.measures.intervals have it: the paired
   permutation test, the interval of a mean over queries, Holm's correction. See docs/significance.md. */
(() => {
  const FEWEST = 10;          // queries; of fewer nothing is said but the difference
  const EQUAL = 1e-7;         // values come as float32: what differs by less is equal
  const N_BOOTSTRAP = 2000, N_SIGNS = 10_000;
  const STUDENTISED = 0.4;    // weight of the studentised bootstrap's end, the rest is Student's t
  const FURTHEST = 1.5;       // no end is further away than this many times Student's
  const NO_SPREAD = 1e-9;     // variance of a resample of equal values: rounding
  const CONFIDENCE = 0.95;
  const MOST_KEPT = 2_000_000;  // drawn places of one table

  /** Fills arrays with 32 random bits each, the same for the same seed (Doty-Humphrey's small fast counter). */
  const random = (seed) => {
    const state = Int32Array.of(0x9e3779b9, 0x243f6a88, seed, 1);
    const fill = (numbers) => {
      let a = state[0], b = state[1], c = state[2], count = state[3];  // in local variables: four times as fast
      for (let i = 0; i < numbers.length; i++) {
        const sum = (a + b + count) | 0;
        count = (count + 1) | 0;
        a = b ^ (b >>> 9);
        b = (c + (c << 3)) | 0;
        c = (((c << 21) | (c >>> 11)) + sum) | 0;
        numbers[i] = sum;
      }
      state[0] = a; state[1] = b; state[2] = c; state[3] = count;
      return numbers;
    };
    fill(new Uint32Array(20));
    return fill;
  };

  // ---- Student's t
  const logGamma = (x) => {  // Stirling's series, after moving x up
    let shift = 0;
    while (x < 10) shift -= Math.log(x++);
    const x2 = x * x;
    return shift + (x - 0.5) * Math.log(x) - x + 0.9189385332046728 + (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * x2)) / x2) / x2) / x;
  };
  /** Regularised incomplete beta function, by its continued fraction (Lentz's way of evaluating one). */
  const incompleteBeta = (x, a, b) => {
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
    const tiny = 1e-300, front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
    let c = 1, d = 1 / Math.max(1 - (a + b) * x / (a + 1), tiny), fraction = d;
    for (let m = 1; m < 400; m++) {
      let step = 1;
      for (const term of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
        d = 1 / ((1 + term * d) || tiny);
        c = (1 + term / c) || tiny;
        step = c * d;
        fraction *= step;
      }
      if (Math.abs(step - 1) < 1e-15) break;
    }
    return front * fraction;
  };
  const reaches = new Map();
  /** The quantile of Student's t that a two-sided interval reaches to. */
  const studentReach = (freedom, confidence = CONFIDENCE) => {
    const key = `${freedom} ${confidence}`;
    if (!reaches.has(key)) {
      const outside = (t) => incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
      let low = 0, high = 2;
      while (outside(high) > 1 - confidence) high *= 2;
      for (let i = 0; i < 80; i++) { const middle = (low + high) / 2; if (outside(middle) > 1 - confidence) low = middle; else high = middle; }
      reaches.set(key, (low + high) / 2);
    }
    return reaches.get(key);
  };

  // ---- the interval
  /** Quantile of sorted numbers at place q (n + 1). */
  const quantile = (sorted, q) => {
    const place = Math.min(Math.max((sorted.length + 1) * q - 1, 0), sorted.length - 1), low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };
  const tables = new Map();
  /** Which values each resample draws: of as many values always the same, kept for the comparisons that follow. */
  const draws = (n, resamples, seed) => {
    const key = `${n} ${resamples} ${seed}`, fill = random(seed), share = n / 4294967296, words = new Uint32Array(n);
    if (tables.has(key)) return tables.get(key);
    const one = (places, start) => { fill(words); for (let i = 0; i < n; i++) places[start + i] = words[i] * share; };
    if (n * resamples > MOST_KEPT) { const places = new Uint32Array(n); return () => { one(places, 0); return places; }; }
    const all = new Uint16Array(n * resamples);
    for (let r = 0; r < resamples; r++) one(all, r * n);
    if (tables.size > 11) tables.delete(tables.keys().next().value);
    const row = (r) => all.subarray(r * n, (r + 1) * n);
    tables.set(key, row);
    return row;
  };
  const clip = (x, most) => Math.min(Math.max(x, 0), most);

  /** The mean of values without NaN, and its interval: {value, low, high, n}; low and high NaN below 2 values. */
  const interval = (values, { seed = 0, resamples = N_BOOTSTRAP, confidence = CONFIDENCE } = {}) => {
    const n = values.length;
    let mean = 0, least = Infinity, greatest = -Infinity;
    for (const value of values) { mean += value; least = Math.min(least, value); greatest = Math.max(greatest, value); }
    mean = n ? mean / n : NaN;
    if (n < 2 || least === greatest) { const end = n > 1 ? mean : NaN; return { value: mean, low: end, high: end, n }; }
    const centred = Float64Array.from(values, (value) => value - mean);
    let unit = 0;
    for (const x of centred) unit = Math.max(unit, Math.abs(x));
    let square = 0;
    for (let i = 0; i < n; i++) { centred[i] /= unit; square += centred[i] ** 2; }
    const deviation = Math.sqrt(square / n);
    for (let i = 0; i < n; i++) centred[i] /= deviation;
    const drawn = draws(n, resamples, seed), studentised = new Float64Array(resamples);
    for (let r = 0; r < resamples; r++) {
      const places = drawn(r);
      let sum = 0, squares = 0;
      for (let i = 0; i < n; i++) { const x = centred[places[i]]; sum += x; squares += x * x; }
      const of = sum / n;
      studentised[r] = of / Math.sqrt(Math.max(squares / n - of * of, NO_SPREAD) / (n - 1));
    }
    studentised.sort();
    const tail = (1 - confidence) / 2, reach = studentReach(n - 1, confidence), error = unit * deviation / Math.sqrt(n - 1);
    const below = clip(STUDENTISED * quantile(studentised, 1 - tail) + (1 - STUDENTISED) * reach, FURTHEST * reach);
    const above = clip(STUDENTISED * -quantile(studentised, tail) + (1 - STUDENTISED) * reach, FURTHEST * reach);
    return { value: mean, low: Math.min(Math.max(mean - below * error, least), mean), high: Math.max(Math.min(mean + above * error, greatest), mean), n };
  };

  // ---- the test
  /** Sums of up to 8 differences under every choice of their signs. */
  const signedSums = (eight) => {
    const sums = new Float64Array(256);
    for (let bits = 0; bits < 256; bits++) for (let i = 0; i < eight.length; i++) sums[bits] += bits >> i & 1 ? eight[i] : -eight[i];
    return sums;
  };
  /** Two-sided p of "the two are exchangeable query by query"; exact where few queries differ. */
  const permutationTest = (differences, { seed = 0, resamples = N_SIGNS } = {}) => {
    const moved = Float64Array.from(differences).filter((d) => d !== 0), n = moved.length;
    if (!n) return 1;
    let sum = 0, size = 0;
    for (const d of moved) { sum += d; size += Math.abs(d); }
    const least = Math.abs(sum) - 1e-12 * size;
    let atLeast = 0;
    if (n < 31 && 2 ** n <= resamples) {
      for (let signs = 0; signs < 2 ** n; signs++) {
        let flipped = 0;
        for (let i = 0; i < n; i++) flipped += signs >> i & 1 ? moved[i] : -moved[i];
        if (Math.abs(flipped) >= least) atLeast++;
      }
      return atLeast / 2 ** n;
    }
    const tables = [];
    for (let i = 0; i < n; i += 8) tables.push(signedSums(moved.subarray(i, i + 8)));
    const fill = random(seed + 1), all = new Float64Array(256 * tables.length), words = new Uint32Array(Math.ceil(tables.length / 4));
    const signs = new Uint8Array(words.buffer);  // 8 signs a byte
    tables.forEach((table, i) => all.set(table, 256 * i));
    for (let r = 0; r < resamples; r++) {
      let flipped = 0;
      fill(words);
      for (let i = 0; i < tables.length; i++) flipped += all[256 * i + signs[i]];
      if (Math.abs(flipped) >= least) atLeast++;
    }
    return (1 + atLeast) / (1 + resamples);
  };

  /** p-values adjusted for being several; NaN is a test that was not made and does not count. */
  const holm = (values) => {
    const order = [...values.keys()].filter((i) => !Number.isNaN(values[i])).sort((i, j) => values[i] - values[j]);
    const adjusted = values.map(() => NaN);
    let greatest = 0;
    order.forEach((i, place) => { greatest = Math.max(greatest, values[i] * (order.length - place)); adjusted[i] = Math.min(greatest, 1); });
    return adjusted;
  };

  /** System b against system a over the rows where both have a value (and `kept`, where given, is true). */
  const compare = (a, b, kept = null, options = {}) => {
    const differences = [];
    let sumA = 0, sumB = 0, wins = 0, losses = 0, undefinedHere = 0;
    for (let i = 0; i < Math.max(a.length, b.length); i++) {
      if (kept && !kept[i]) continue;
      const x = a[i] ?? NaN, y = b[i] ?? NaN;
      if (Number.isNaN(x) || Number.isNaN(y)) { if (!(Number.isNaN(x) && Number.isNaN(y))) undefinedHere++; continue; }
      const difference = Math.abs(y - x) <= EQUAL ? 0 : y - x;
      sumA += x; sumB += y; wins += difference > 0; losses += difference < 0;
      differences.push(difference);
    }
    const n = differences.length, enough = n >= (options.fewest ?? FEWEST);
    const found = enough ? interval(differences, options) : { value: (sumB - sumA) / n, low: NaN, high: NaN };
    const p = enough ? permutationTest(differences, { seed: options.seed }) : NaN;
    return { n, a: sumA / n, b: sumB / n, difference: found.value, low: found.low, high: found.high, p, wins, losses, ties: n - wins - losses, onlyOne: undefinedHere };
  };

  /** Run functions one by one, letting the page breathe; stops when `alive()` is false. */
  const inTurn = async (jobs, { progress = () => {}, alive = () => true } = {}) => {
    let since = performance.now();
    for (let i = 0; i < jobs.length; i++) {
      if (!alive()) return false;
      jobs[i]();
      if (performance.now() - since > 25) {
        progress(i + 1, jobs.length);
        await new Promise((resolve) => setTimeout(resolve));
        since = performance.now();
      }
    }
    return alive();
  };

  MR.statistics = { FEWEST, EQUAL, interval, permutationTest, holm, compare, inTurn, studentReach };
})();
