#!/bin/sh
# Dependencies point one way: which folders of src/ may include which. Everything else may include
# only what it is named for here. Prints each breach; exit 1 if there are any.
set -u
cd "$(dirname "$0")/.." || exit 2

allowed() {
    case $1 in
    base) echo "base" ;;
    mpi) echo "base" ;;
    graph) echo "base graph" ;;
    onnx) echo "base graph onnx" ;;
    tflite) echo "base graph tflite" ;;
    openvino) echo "base graph openvino" ;;
    torch) echo "base graph torch" ;;
    coreml) echo "base graph coreml" ;;
    ncnn) echo "base graph ncnn" ;;
    ops) echo "base graph ops" ;;
    kernels) echo "base kernels" ;;
    plot) echo "base plot" ;;
    runtime) echo "base graph kernels ops runtime" ;;
    quant) echo "base graph kernels ops runtime plot quant" ;;
    eval) echo "base eval" ;;
    train) echo "base graph kernels ops runtime train" ;;
    vision) echo "base vision" ;;
    pipeline) echo "base graph onnx openvino tflite torch coreml ncnn ops runtime quant vision eval train pipeline" ;;
    live) echo "base runtime vision pipeline live" ;;
    report) echo "base graph quant vision eval pipeline report" ;;
    esac
}

includes() {
    grep -rnoE '#[[:space:]]*include[[:space:]]*"[^"]+"' "$1" --include='*.[ch]' --include='*.inc' |
        sed -E 's/#[[:space:]]*include[[:space:]]*"([^"]+)"/\1/'
}

breaches=$(
    for dir in src/*/; do
        name=$(basename "$dir")
        list=" crayon $(allowed "$name") "
        [ -n "$(allowed "$name")" ] || echo "$dir: not in the law (tests/deps_law.sh)"
        includes "$dir" | while IFS=: read -r file line header; do
            case $header in
            */*) top=${header%%/*} ;;
            cr_*.pb-c.h) top=${header#cr_} && top=${top%.pb-c.h} ;;
            live_page.h) top=live ;;
            report_css.h | report_js.h) top=report ;;
            *) echo "$file:$line: \"$header\": write the folder too"; continue ;;
            esac
            case $list in
            *" $top "*) ;;
            *) echo "$file:$line: src/$name may not include \"$header\"" ;;
            esac
        done
    done
    # quant runs models through runtime's one header
    includes src/quant | grep ':runtime/' | grep -v ':runtime/runtime.h$' |
        sed 's/$/: quant may see runtime\/runtime.h only/'
    for dir in cli examples; do
        includes $dir | grep -vE ':(crayon/[a-z_]+\.h|(cli|detect|quantize_job|plan_options)\.h)$' |
            sed "s|\$|: $dir sees include/ only|"
    done
    includes bindings | grep -vE ':(crayon/[a-z_]+\.h|(crayon_py|plan_options)\.h)$' |
        sed 's/$/: bindings see include\/ and the table of plan options only/'
    includes include | grep -vE ':crayon/[a-z_]+\.h$' | sed 's/$/: public headers see each other only/'
)
[ -z "$breaches" ] && exit 0
echo "$breaches"
exit 1
