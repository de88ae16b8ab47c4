#!/bin/sh
# What only a GPU can show, one file per finding in the folder given. Ends with 1 if any part fails.
#
#   make gpu            or            sh tests/on_gpu.sh FOLDER
set -u
out=${1:?usage: on_gpu.sh FOLDER}
mkdir -p "$out"
failed=

# note NAME COMMAND...: keep what it prints, and go on whatever happens.
note() {
    name=$1
    shift
    echo "== $name: $*"
    if "$@" >"$out/$name" 2>"$out/$name.log"; then
        tail -n 20 "$out/$name"
    else
        echo "failed ($?), see $out/$name.log"
        tail -n 5 "$out/$name.log"
        failed="$failed $name"
    fi
}

note doctor.json mssctl doctor --require-gpu --json
note tests.txt python -m pytest -m gpu -q
note plan.txt mssctl plan small --verify
# The memory that cards of 18, 28 and 31 GB leave beside the driver.
for run in small:17 base:27 xlarge:30; do
    preset=${run%:*}
    memory=${run#*:}
    for compile in false true; do
        note "bench-$preset-compile-$compile.json" mssctl bench "$preset" --steps 20 \
            --memory "$memory" --set "training.compile=$compile" --json
    done
    note "compare-$preset.txt" mssctl bench --compare \
        "$out/bench-$preset-compile-false.json" "$out/bench-$preset-compile-true.json"
done
note profile-small.txt mssctl bench small --steps 5 --memory 17 --profile "$out/trace-small.json"
note scan.txt mssctl bench bsmamba2 --mode scan
note separate.txt mssctl bench starter --mode separate --steps 20

if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
echo "all findings are in $out"
