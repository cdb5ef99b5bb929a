"use strict";
/* Ranks as ranges, and means over tasks: arrays in, numbers out. */
(() => {
  /* How many of a sorted array's entries are below x (or, with `orEqual`, not above it). */
  const below = (sorted, x, orEqual) => {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < x || (orEqual && sorted[middle] === x)) low = middle + 1; else high = middle;
    }
    return low;
  };

  /** Intervals ([low, high], or null: not ranked) to [first, last] places: first is 1 + those whose whole interval lies above. */
  MR.ranks = (intervals) => {
    const ranked = intervals.filter((x) => x !== null);
    const lows = Float64Array.from(ranked, (x) => x[0]).sort(), highs = Float64Array.from(ranked, (x) => x[1]).sort();
    return intervals.map((x) => x && [1 + lows.length - below(lows, x[1], true), highs.length - below(highs, x[0], false)]);
  };

  /** The mean of independent scores ([value, low, high]) with its interval: each side's distances in quadrature
      (MOVER; Zou and Donner 2008). Without an interval where one of them has none. */
  MR.mean = (scores) => {
    const n = scores.length;
    let sum = 0, under = 0, over = 0, known = true;
    for (const [value, low, high] of scores) {
      sum += value;
      if (low === null || high === null) known = false;
      else { under += (value - low) ** 2; over += (high - value) ** 2; }
    }
    const value = sum / n;
    return known ? [value, value - Math.sqrt(under) / n, value + Math.sqrt(over) / n] : [value, null, null];
  };

  /** A range of places as text; "~": a score without an interval, taken as exact. */
  MR.rankText = ([first, last], isExact) => (isExact ? "~" : "") + (first === last ? String(first) : `${first}\u2013${last}`);
})();
