#!/usr/bin/env bash
# Builds with CUDA, checks everything that needs a device on one, measures, and
# prints one table; within 10 minutes.
#
#   bench/cuda.sh [BUILD]      a build directory (build-cuda)
#
# Needs nvcc; PYTHON (python3) with torch, numpy, torch_geometric for the peers;
# compute-sanitizer and nsys of the toolkit. What is missing leaves its line
# open. Without a device: says so, and exits 77. Otherwise 1 if a check failed.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build-cuda}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset "${!OPENBLAS_@}"
PATH=$PATH:/usr/local/cuda/bin
lines=()
failed=0

# line WHAT FIGURE: of the table
line() { lines+=("$(printf '%-52s %s' "$1" "$2")"); }
open() {
    for what in 'kernels against the CPU' 'losses of 200 steps, 10,000 codes' \
        'compute-sanitizer' 'graphs/s: ours, CPU, PyTorch, PyTorch Geometric' \
        'floors' 'epochs of 40,000 graphs' 'launches of a step'; do
        echo "open: $what"
    done
    exit 77
}

# check WHAT SECONDS COMMAND...: a line that says how it ended
check() {
    local what=$1 seconds=$2 status=0
    shift 2
    timeout "$seconds" "$@" >"$work/log" 2>&1 || status=$?
    case $status in
        0) line "$what" ok ;;
        77) line "$what" "open ($(grep -m1 skipped "$work/log"))" ;;
        *) line "$what" "FAILED ($status)"; failed=1; tail -20 "$work/log" ;;
    esac
    return $status
}

nvidia-smi -L >"$work/device" 2>&1 || { echo 'no device'; open; }
command -v nvcc >/dev/null || { echo 'no nvcc'; open; }
cat "$work/device"
[ -f "$build/build.ninja" ] ||
    meson setup "$build" -Dcuda=enabled -Dbuildtype=release || exit 1
ninja -C "$build" all bench_learn tests/test_kernels tests/test_layers \
    tests/test_tape tests/test_shortcuts || exit 1

# -- checks ------------------------------------------------------------------
for t in layers tape shortcuts; do
    check "test_$t" 120 env LAB_DEVICE=cuda "$build/tests/test_$t"
done
check 'kernels against the CPU, 1e-5' 120 \
    env KERNELS_ON=cuda "$build/tests/test_kernels"
tools=("$build"/tools/{cgzoo,cgtrain,cgeval,cgpredict})
check 'losses of 200 steps 1e-4, 10,000 codes 1e-5, the rest' 180 \
    "$python" tests/cuda_programs.py "${tools[@]}" 10000
grep -E 'apart|points off' "$work/log"

# -- a set --------------------------------------------------------------------
{
    echo code,accuracy
    "${tools[0]}" sample nb101 -n 60000 --seed 1 | sort -u |
        awk '{ print "\"" $0 "\"," 80 + length($0) % 17 }'
} >"$work/labels.csv"
"${tools[0]}" pack nb101 --labels "$work/labels.csv" -o "$work/set.cgs" ||
    exit 1

# train MEMBER DEVICE GRAPHS EPOCHS: what cgtrain says on stderr
train() {
    "${tools[1]}" "$work/set.cgs" -o "$work/$1.safetensors" --device "$2" \
        --set members="$1" --set limit="$3" --set epochs="$4" \
        --set cl_epochs="$4" --set batch=128 --set cl_batch=128 2>&1 >/dev/null
}
rate_of() { grep -oE '[0-9]+ graphs/s' | tail -1 | cut -d' ' -f1; }

for tool in memcheck racecheck; do
    if command -v compute-sanitizer >/dev/null; then
        train encoder cpu 600 1 >/dev/null
        check "compute-sanitizer --tool $tool, training" 120 \
            compute-sanitizer --tool $tool --error-exitcode 9 \
            "${tools[1]}" "$work/set.cgs" -o "$work/x" -q --device cuda \
            --set members=kgnn,encoder --set limit=600 --set epochs=1 \
            --set cl_epochs=1
    else
        line "compute-sanitizer --tool $tool" 'open (not installed)'
    fi
done

# -- rates --------------------------------------------------------------------
declare -A ours
for member in encoder kgnn; do
    for device in cuda cpu; do
        graphs=$([ $device = cuda ] && echo 50000 || echo 10000)
        ours[$member $device]=$(train $member $device "$graphs" 1 | rate_of)
        line "$member step, $device" "${ours[$member $device]} graphs/s"
    done
    rate=$(train $member cuda 50000 1 | rate_of)
    line "$member, an epoch of 40,000 graphs (wanted: 2 s)" \
        "$(awk "BEGIN { printf \"%.2f s\", 40000 / ($rate + 1e-9) }")"
    for device in cuda cpu; do
        rate=$("$build/bench_learn" --device $device rate "$work/set.cgs" \
            "$work/$member.safetensors" $member 0 3 20000 |
            sort -n | sed -n 2p | cut -d' ' -f1)
        ours[$member $device inference]=$rate
        line "$member inference, $device" "$rate graphs/s"
    done
done
if timeout 150 "$python" bench/cuda_torch.py "$work/set.cgs" \
    "$work"/{kgnn,encoder}.safetensors >"$work/peers" 2>"$work/log"; then
    while read -r peer member what rate; do
        key="$member cuda"
        [ "$what" = inference ] && key="$member cuda inference"
        [ "$what" = missing ] && { line "$peer" 'open (not installed)'; continue; }
        line "$member $what, $peer on the device (wanted: 10 x)" \
            "$(awk "BEGIN { printf \"%d graphs/s, ours %.1f x\", $rate, \
                ${ours[$key]:-0} / ($rate + 1e-9) }")"
    done <"$work/peers"
else
    line 'PyTorch, PyTorch Geometric' "open ($(tail -1 "$work/log"))"
fi

# -- floors, launches ---------------------------------------------------------
if nvcc -O2 -o "$work/floors" bench/cuda_floors.c -lcublas 2>"$work/log"; then
    read -r copy gemm < <("$work/floors")
    line 'floor: copies' "$copy GB/s"
    line 'floor: float32 products' "$gemm TFLOP/s"
    # 10.8 and 1.45 MFLOP of products a graph (README.md, train.py)
    for pair in 'encoder 10.8' 'kgnn 1.45'; do
        set -- $pair
        line "$1 step, share of the products' floor" \
            "$(awk "BEGIN { printf \"%.1f %%\", \
                1e-4 * ${ours[$1 cuda]:-0} * $2 / $gemm }")"
    done
else
    line floors "open ($(tail -1 "$work/log"))"
fi
# launches LIMIT: kernels of a training
launches() {
    nsys profile -o "$work/p$1" -f true -t cuda "${tools[1]}" "$work/set.cgs" \
        -o "$work/x" -q --device cuda --set members="$2" --set limit="$1" \
        --set epochs=1 --set cl_epochs=1 --set batch=128 \
        --set cl_batch=128 >/dev/null 2>&1 &&
        nsys stats -r cuda_gpu_kern_sum -f csv "$work/p$1.nsys-rep" \
            2>/dev/null | awk -F, '$3 ~ /^[0-9]+$/ { n += $3 } END { print n }'
}
for member in encoder kgnn; do
    if command -v nsys >/dev/null && few=$(launches 1600 $member) &&
        many=$(launches 17600 $member); then # 100 steps of 128 more
        line "$member, kernels of a step (nsys)" $(((many - few) / 100))
    else
        line "$member, kernels of a step" 'open (no nsys)'
    fi
done

echo
printf '%s\n' "${lines[@]}"
exit $failed
