# Sourced by scripts/quickstart and scripts/test: a virtual environment in .venv with this project in it.
# A virtual environment that is active already is used as it is.

prepare_environment() { # $1: the extras, comma-separated
    local stamp
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
        # shellcheck disable=SC1091
        . .venv/bin/activate
    fi
    stamp="$VIRTUAL_ENV/.mr-st-$(cat constraints.txt pyproject.toml <(echo "$1" "$PWD") | sha256sum | cut -c1-16)"
    [ -e "$stamp" ] && return
    echo "Installing into $VIRTUAL_ENV (3-4 minutes, about 3 GB) ..." >&2
    pip install -q --upgrade pip setuptools -c constraints.txt 2> >(grep -v -i warning >&2)
    pip install -q torch==2.13.0 -c constraints.txt 2> >(grep -v -i warning >&2)
    pip install -q --no-build-isolation -e ".[$1]" -c constraints.txt 2> >(grep -v -i warning >&2)
    touch "$stamp"
}
