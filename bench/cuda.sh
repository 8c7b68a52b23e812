#!/usr/bin/env bash
# Builds with CUDA, checks everything that needs a device on one, measures, and
# prints a line for each as soon as it is known, all of them again at the end
# (also when it is stopped); within 10 minutes.
#
#   bench/cuda.sh [BUILD]      a build directory (build-cuda)
#
# Needs nvcc and what test.sh installs; PYTHON (python3) with torch, numpy,
# torch_geometric for the peers; compute-sanitizer and nsys. What is missing, or
# no time is left for, leaves its line open. Exits with 1 if a check failed, 77
# if it had to give up.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
build=${1:-build-cuda}
python=${PYTHON:-python3}
limit=585 # seconds for all
unset "${!OPENBLAS_@}"
export KERNELS_ON=cuda LAB_DEVICE=cuda # what the tests test
for d in /usr/local/cuda/bin /usr/local/cuda*/bin /opt/cuda/bin \
    /usr/lib/nvidia-cuda-toolkit/bin /opt/nvidia/nsight-systems/*/bin; do
    PATH=$PATH:$d
done
cgzoo=$build/tools/cgzoo cgtrain=$build/tools/cgtrain
bench=$build/bench_learn
work=$(mktemp -d)
networks=$work/set.cgs log=$work/log # log: what the last run said
child='' failed=0
declare -A rate # label of a line -> graphs/s

exec 4>&1 # for finish, which can come while functions write elsewhere
finish() {
    [ -n "$child" ] && kill "$child"
    printf '\n== all lines, after %d s\n' "$SECONDS" >&4
    cat "$work/table" >&4
    rm -rf "$work"
}
trap finish EXIT
trap 'give_up stopped' INT TERM HUP

# -- what the parts below share -----------------------------------------------
# line WHAT FIGURE: of the table
line() { printf '%-55s %s\n' "$1" "$2" | tee -a "$work/table"; }
# why: the sentence for what is open
why() {
    { sed -n 's/^skipped: //p; s/.*ERROR: //p; / error:\|not supported/p' "$log"
      tail -1 "$log"; } | head -1 | sed 's/^=* *//'
}
give_up() {
    line 'the lines that follow' "open ($1)"
    exit $((failed ? 1 : 77))
}
# known FIGURE: a number above 0
known() { [[ $1 =~ ^[0-9]*\.?[0-9]+$ && $1 =~ [1-9] ]]; }
# figure FORMAT VALUES: by awk
figure() { awk "BEGIN { printf \"$1\", $2 }"; }

# left SECONDS: as many, or what there is
left() {
    local all=$((limit - SECONDS))
    echo $(($1 < all ? $1 : all))
}
# ended STATUS SECONDS: of a command under timeout; 77 where it took longer
ended() {
    [ "$1" != 124 ] && [ "$1" != 137 ] && return "$1"
    echo "skipped: longer than $2 s" >>"$log"
    return 77
}
# limited SECONDS COMMAND...: 77 where there was not the time for it. (Behind
# wait, because bash looks at signals only then.)
limited() {
    local seconds status=0
    seconds=$(left "$1")
    shift
    [ "$seconds" -ge 5 ] ||
        { echo 'skipped: no time left' >>"$log"; return 77; }
    timeout -k 5 "$seconds" "$@" 4>&- &
    child=$!
    wait $child || status=$?
    child=''
    ended $status "$seconds"
}

# verdict WHAT STATUS: a line that says how a check ended
verdict() {
    case $2 in
        0) line "$1" ok ;;
        77) line "$1" "open ($(why))" ;;
        *) line "$1" "FAILED ($2)"; failed=1
           grep -m40 '^=====' "$log" || tail -20 "$log" ;;
    esac
    return "$2"
}
check() { # WHAT SECONDS COMMAND...
    limited "${@:2}" >"$log" 2>&1
    verdict "$1" $?
}

# sanitize TOOL WHAT COMMAND...: memcheck looks into the libraries' kernels too,
# where wrong arguments of ours show. The other tools leave these out: they
# report what is none there (cuSPARSE's documentation says so of its products).
# What the libraries try of the driver's functions is nobody's error.
others=kns=cublas,kns=cusparse,kns=cub,kns=thrust,kns=cutlass,kns=gemm
others+=,kns=gemv,kns=nvjet,kns=splitK,kns=xmma
sanitize() {
    local what="compute-sanitizer $1, $2" leave_out=() option
    command -v compute-sanitizer >/dev/null ||
        { line "$what" 'open (no compute-sanitizer)'; return; }
    if [ "$1" != memcheck ]; then # the option's name until CUDA 12.2, and since
        option=$(compute-sanitizer --help 2>&1 |
            grep -oE -e '--kernel-(name|regex)-exclude' | sort -u) ||
            { line "$what" 'open (it cannot leave out kernels)'; return; }
        leave_out=("${option%%$'\n'*}" "$others")
    fi
    limited 60 compute-sanitizer --tool "$1" --error-exitcode 9 \
        --report-api-errors no "${leave_out[@]}" "${@:3}" >"$log" 2>&1
    local status=$?
    [ $status != 0 ] && grep -q 'not supported' "$log" && status=77
    verdict "$what" $status
}

# trains MEMBERS DEVICE GRAPHS EPOCHS: `training` is the command; of the graphs
# it takes 8 tenths for steps, of 128
trains() {
    training=("$cgtrain" "$networks" -o "$work/$1.safetensors" --device "$2"
        --set members="$1" --set limit="$3" --set epochs="$4"
        --set cl_epochs="$4" --set head_epochs="$4" --set batch=128
        --set cl_batch=128 --set head_batch=32)
}
# keep WHAT RATE
keep() {
    known "$2" || { line "$1" "open ($(why))"; return; }
    rate[$1]=$2
    line "$1" "$2 graphs/s"
}

# -- build --------------------------------------------------------------------
nvidia-smi -L >"$log" 2>&1 || give_up 'no device'
command -v nvcc >/dev/null || give_up 'no nvcc'
line "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader |
    head -1)" "$(date +%F)"
arch=sm_$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader |
    head -1 | tr -d '. \r')
nvcc --list-gpu-code | grep -x "$arch" >/dev/null || arch=''
# (of a host's compiler that it does not know only nvcc itself speaks clearly)
limited 30 nvcc -x cu -c /dev/null -o "$work/empty" >"$log" 2>&1 ||
    give_up "$(why)"
tests=(backend layers tape shortcuts states counted)
[ -f "$build/build.ninja" ] ||
    limited 60 meson setup "$build" -Dcuda=enabled -Dbuildtype=release \
        ${arch:+"-Dcuda-arch=$arch"} >"$log" 2>&1 || give_up "$(why)"
check build 300 ninja -C "$build" all bench_learn tests/test_kernels \
    "${tests[@]/#/tests/test_}" || give_up 'not built'

# -- checks -------------------------------------------------------------------
check 'kernels against the CPU, 1e-5' 60 "$build/tests/test_kernels"
for t in "${tests[@]}"; do
    check "test_$t" 30 "$build/tests/test_$t"
done
check 'losses of 200 steps 1e-4, 10,000 codes 1e-5, the rest' 150 \
    "$python" tests/cuda_programs.py \
    "$build"/tools/{cgzoo,cgtrain,cgeval,cgpredict} 10000
grep -E 'apart|points off' "$log" | sed 's/^/    /' | tee -a "$work/table"
for tool in memcheck racecheck; do
    sanitize $tool kernels "$build/tests/test_kernels"
done

# -- rates --------------------------------------------------------------------
{
    echo code,accuracy
    # a seventh of all, in the order of their keys, which is none
    "$cgzoo" enumerate nb101 | awk 'NR > 1 && NR % 7 == 0' | sort |
        awk -F, '{ print "\"" $2 "\"," 80 + length($2) % 17 }'
} >"$work/labels.csv"
check 'a set, a seventh of NAS-Bench-101' 120 \
    "$cgzoo" pack nb101 --labels "$work/labels.csv" -o "$networks" ||
    give_up 'no set'

# steps MEMBERS DEVICE GRAPHS EPOCHS: of the last one
steps() {
    trains "$@"
    limited 60 "${training[@]}" >/dev/null 2>"$log"
    keep "${1##*,} step, $2" \
        "$(grep -oE '[0-9]+ graphs/s' "$log" | tail -1 | cut -d' ' -f1)"
}
# rates MEMBER DEVICE GRAPHS EPOCHS
rates() {
    steps "$@"
    limited 60 "$bench" --device "$2" rate "$networks" \
        "$work/$1.safetensors" "$1" 0 3 20000 >"$work/rates" 2>"$log"
    keep "$1 inference, $2" "$(sort -n "$work/rates" | sed -n '2s/ .*//p')"
}
for member in encoder kgnn; do
    rates $member cpu 10000 1
    rates $member cuda 50000 4
    step=${rate[$member step, cuda]:-}
    line "$member, an epoch of 40,000 graphs (wanted: 2 s)" \
        "$(known "$step" && figure '%.2f s' "40000 / $step" ||
            echo 'open (no rate)')"
done
steps encoder,cl_fcm_t cpu 4000 1
steps encoder,cl_fcm_t cuda 20000 2 # each a graph of CUDA's, but for AdamW

seconds=$(left 120)
if [ "$seconds" -ge 5 ]; then
    # (not by limited: its lines are read as they come)
    exec 3< <(exec timeout -k 5 "$seconds" "$python" bench/cuda_torch.py \
        "$networks" "$work"/{kgnn,encoder}.safetensors 2>"$log" 4>&-)
    child=$!
    while read -r peer member what theirs <&3; do
        [ "$what" = missing ] &&
            { line "$peer" 'open (not installed)'; continue; }
        ours=${rate[$member $what, cuda]:-}
        text="$theirs graphs/s, ours $(known "$ours" && known "$theirs" &&
            figure '%.1f x' "$ours / $theirs" || echo open)"
        known "$theirs" || text="open (it says $theirs)"
        line "$member $what, $peer (wanted: 10 x)" "$text"
    done
    wait $child
    ended $? "$seconds" || line 'PyTorch, the rest' "open ($(why))"
    child=''
else
    line 'PyTorch, PyTorch Geometric' 'open (no time left)'
fi

# -- floors -------------------------------------------------------------------
# floors MEMBER: of a step and of inference, and our share of them. Time is that
# of the rates above, with the making of batches.
floors() {
    local what graphs kernels bytes operations uploaded ours
    limited 60 "$bench" --device cuda floors "$networks" \
        "$work/$1.safetensors" "$1" 128 20480 >"$work/moved" 2>"$log" ||
        line "$1, floors" "open ($(why))"
    while read -r what graphs kernels bytes operations uploaded; do
        line "$1 $what of ${graphs%.*}" "$(figure \
            '%.1f MB moved, %.2f GFLOP, %.2f MB uploaded, %.0f kernels' \
            "$bytes/1e6, $operations/1e9, $uploaded/1e6, $kernels")"
        ours=${rate[$1 $what, cuda]:-}
        known "$ours" || { line '    floors' 'open (no rate)'; continue; }
        line '    measured; floor of copies; of products (our share)' \
            "$(awk "BEGIN { ms = 1e3 * $graphs / $ours
                copied = $bytes / $copies / 1e6
                multiplied = $operations / $products / 1e9
                printf \"%.3f; %.3f (%.1f %%); %.3f ms (%.1f %%)\", ms,
                    copied, 100 * copied / ms,
                    multiplied, 100 * multiplied / ms }")"
    done <"$work/moved"
}

libraries=$(dirname "$(readlink -f "$(command -v nvcc)")")/../lib64
copies='' products=''
limited 60 nvcc -O2 -o "$work/floors" bench/cuda_floors.c -lcublas \
    -Xlinker -rpath,"$libraries" >"$log" 2>&1 &&
    limited 30 "$work/floors" >"$work/rates" 2>"$log" &&
    read -r copies products <"$work/rates"
if known "$copies" && known "$products"; then
    line 'copies within the device' "$copies GB/s"
    line 'float32 products by cuBLAS' "$products TFLOP/s"
    for member in encoder kgnn; do
        floors $member
    done
else
    line floors "open ($(why))"
fi

# -- launches -----------------------------------------------------------------
# launches MEMBER GRAPHS: `count` of a training
launches() {
    local report=$work/$1-$2
    count=''
    trains "$1" cuda "$2" 1
    limited 60 nsys profile -o "$report" -t cuda --sample=none \
        --cpuctxsw=none "${training[@]}" >"$log" 2>&1 &&
        limited 30 nsys stats -q --force-export=true -r cuda_gpu_kern_sum \
            -f csv "$report.nsys-rep" >"$report.csv" 2>"$log" || return
    count=$(awk -F, '$3 ~ /^[0-9]+$/ { n += $3 } END { print n + 0 }' \
        "$report.csv")
    known "$count" || echo "skipped: no kernels in nsys' report" >>"$log"
}
for member in encoder kgnn; do
    what="$member, kernels of a step, about"
    command -v nsys >/dev/null || { line "$what" 'open (no nsys)'; continue; }
    launches $member 1600
    few=$count
    known "$few" && launches $member 17600 # 100 steps more
    if known "$few" && known "$count"; then
        line "$what" $(((count - few) / 100))
    else
        line "$what" "open ($(why))"
    fi
done

# -- with the time that is left -----------------------------------------------
trains kgnn,encoder,cl_fcm_t cuda 600 1
for tool in memcheck racecheck initcheck; do
    sanitize $tool training "${training[@]}"
done
sanitize synccheck kernels "$build/tests/test_kernels"
exit $failed
