/* Facts of TFLite's FlatBuffers schema: numbers of operators, types and unions, and the field numbers
 * of the tables that we read or write. A field's place in a table's vtable is 4 + 2 * number bytes
 * from the vtable's start.
 *
 * Source: the public schema, tensorflow/lite/schema/schema.fbs (schema version 3). Only what a
 * detector's file can hold is listed; a reader names other operators by their number. */
#ifndef CR_TFLITE_TFLITE_SCHEMA_H
#define CR_TFLITE_TFLITE_SCHEMA_H

#define CR_TFL_IDENTIFIER "TFL3" /* bytes 4 to 7 of every file */
enum { CR_TFL_VERSION = 3 };

/* CR_TFL_OP(code, name, union number of its options; 0: it has none) */
#define CR_TFL_OPS(CR_TFL_OP)                                                                      \
    CR_TFL_OP(0, ADD, 11)                                                                          \
    CR_TFL_OP(1, AVERAGE_POOL_2D, 5)                                                               \
    CR_TFL_OP(2, CONCATENATION, 10)                                                                \
    CR_TFL_OP(3, CONV_2D, 1)                                                                       \
    CR_TFL_OP(4, DEPTHWISE_CONV_2D, 2)                                                             \
    CR_TFL_OP(5, DEPTH_TO_SPACE, 94)                                                               \
    CR_TFL_OP(6, DEQUANTIZE, 38)                                                                   \
    CR_TFL_OP(8, FLOOR, 0)                                                                         \
    CR_TFL_OP(9, FULLY_CONNECTED, 8)                                                               \
    CR_TFL_OP(11, L2_NORMALIZATION, 12)                                                            \
    CR_TFL_OP(14, LOGISTIC, 0)                                                                     \
    CR_TFL_OP(17, MAX_POOL_2D, 5)                                                                  \
    CR_TFL_OP(18, MUL, 21)                                                                         \
    CR_TFL_OP(19, RELU, 0)                                                                         \
    CR_TFL_OP(20, RELU_N1_TO_1, 0)                                                                 \
    CR_TFL_OP(21, RELU6, 0)                                                                        \
    CR_TFL_OP(22, RESHAPE, 17)                                                                     \
    CR_TFL_OP(23, RESIZE_BILINEAR, 15)                                                             \
    CR_TFL_OP(25, SOFTMAX, 9)                                                                      \
    CR_TFL_OP(26, SPACE_TO_DEPTH, 19)                                                              \
    CR_TFL_OP(28, TANH, 0)                                                                         \
    CR_TFL_OP(32, CUSTOM, 0)                                                                       \
    CR_TFL_OP(34, PAD, 22)                                                                         \
    CR_TFL_OP(36, GATHER, 23)                                                                      \
    CR_TFL_OP(39, TRANSPOSE, 26)                                                                   \
    CR_TFL_OP(40, MEAN, 27)                                                                        \
    CR_TFL_OP(41, SUB, 28)                                                                         \
    CR_TFL_OP(42, DIV, 29)                                                                         \
    CR_TFL_OP(43, SQUEEZE, 30)                                                                     \
    CR_TFL_OP(45, STRIDED_SLICE, 32)                                                               \
    CR_TFL_OP(47, EXP, 33)                                                                         \
    CR_TFL_OP(48, TOPK_V2, 34)                                                                     \
    CR_TFL_OP(49, SPLIT, 35)                                                                       \
    CR_TFL_OP(50, LOG_SOFTMAX, 36)                                                                 \
    CR_TFL_OP(53, CAST, 37)                                                                        \
    CR_TFL_OP(54, PRELU, 0)                                                                        \
    CR_TFL_OP(55, MAXIMUM, 39)                                                                     \
    CR_TFL_OP(56, ARG_MAX, 40)                                                                     \
    CR_TFL_OP(57, MINIMUM, 39)                                                                     \
    CR_TFL_OP(59, NEG, 42)                                                                         \
    CR_TFL_OP(60, PADV2, 43)                                                                       \
    CR_TFL_OP(65, SLICE, 48)                                                                       \
    CR_TFL_OP(66, SIN, 0)                                                                          \
    CR_TFL_OP(67, TRANSPOSE_CONV, 49)                                                              \
    CR_TFL_OP(69, TILE, 51)                                                                        \
    CR_TFL_OP(70, EXPAND_DIMS, 52)                                                                 \
    CR_TFL_OP(73, LOG, 0)                                                                          \
    CR_TFL_OP(74, SUM, 27)                                                                         \
    CR_TFL_OP(75, SQRT, 0)                                                                         \
    CR_TFL_OP(76, RSQRT, 0)                                                                        \
    CR_TFL_OP(77, SHAPE, 55)                                                                       \
    CR_TFL_OP(78, POW, 56)                                                                         \
    CR_TFL_OP(82, REDUCE_MAX, 27)                                                                  \
    CR_TFL_OP(83, PACK, 59)                                                                        \
    CR_TFL_OP(88, UNPACK, 64)                                                                      \
    CR_TFL_OP(89, REDUCE_MIN, 27)                                                                  \
    CR_TFL_OP(92, SQUARE, 66)                                                                      \
    CR_TFL_OP(97, RESIZE_NEAREST_NEIGHBOR, 74)                                                     \
    CR_TFL_OP(98, LEAKY_RELU, 75)                                                                  \
    CR_TFL_OP(99, SQUARED_DIFFERENCE, 76)                                                          \
    CR_TFL_OP(100, MIRROR_PAD, 77)                                                                 \
    CR_TFL_OP(101, ABS, 78)                                                                        \
    CR_TFL_OP(102, SPLIT_V, 79)                                                                    \
    CR_TFL_OP(104, CEIL, 0)                                                                        \
    CR_TFL_OP(107, GATHER_ND, 83)                                                                  \
    CR_TFL_OP(108, COS, 84)                                                                        \
    CR_TFL_OP(111, ELU, 0)                                                                         \
    CR_TFL_OP(114, QUANTIZE, 89)                                                                   \
    CR_TFL_OP(116, ROUND, 0)                                                                       \
    CR_TFL_OP(117, HARD_SWISH, 91)                                                                 \
    CR_TFL_OP(123, SELECT_V2, 98)                                                                  \
    CR_TFL_OP(126, BATCH_MATMUL, 101)                                                              \
    CR_TFL_OP(130, BROADCAST_TO, 104)                                                              \
    CR_TFL_OP(150, GELU, 116)                                                                      \
    CR_TFL_OP(152, RELU_0_TO_1, 0)                                                                 \
    CR_TFL_OP(158, SIGN, 123)

typedef enum cr_tfl_op {
#define CR_TFL_OP(code, name, options) CR_TFL_##name = code,
    CR_TFL_OPS(CR_TFL_OP)
#undef CR_TFL_OP
    /* Codes from this one on stand in OperatorCode's int32 field alone; smaller ones in both fields. */
    CR_TFL_LARGE_CODES = 127
} cr_tfl_op;

typedef enum cr_tfl_type {
    CR_TFL_F32 = 0, CR_TFL_F16 = 1, CR_TFL_I32 = 2, CR_TFL_U8 = 3, CR_TFL_I64 = 4,
    CR_TFL_STRING = 5, CR_TFL_BOOL = 6, CR_TFL_I16 = 7, CR_TFL_I8 = 9, CR_TFL_F64 = 10,
    CR_TFL_U64 = 12, CR_TFL_U32 = 15, CR_TFL_U16 = 16, CR_TFL_I4 = 17, CR_TFL_BF16 = 18,
    CR_TFL_I2 = 19, CR_TFL_U4 = 20
} cr_tfl_type; /* int4 and int2: the first value in the lowest bits of a byte */

enum { CR_TFL_SAME = 0, CR_TFL_VALID = 1 };                        /* Padding */
enum { CR_TFL_ACT_NONE = 0, CR_TFL_ACT_RELU = 1, CR_TFL_ACT_RELU_N1_TO_1 = 2,
       CR_TFL_ACT_RELU6 = 3, CR_TFL_ACT_TANH = 4 };                /* ActivationFunctionType */
enum { CR_TFL_REFLECT = 0, CR_TFL_SYMMETRIC = 1 };                 /* MirrorPadMode */

/* Field numbers. The comment gives the field's form: a table or vector is an offset. */
enum { /* Model, the root */
    CR_TFL_MODEL_VERSION = 0,        /* u32 */
    CR_TFL_MODEL_OPERATOR_CODES = 1, /* [OperatorCode] */
    CR_TFL_MODEL_SUBGRAPHS = 2,      /* [SubGraph] */
    CR_TFL_MODEL_DESCRIPTION = 3,    /* string */
    CR_TFL_MODEL_BUFFERS = 4,        /* [Buffer]; buffer 0 is empty and means "no data" */
    CR_TFL_MODEL_METADATA = 6,       /* [Metadata] */
    CR_TFL_MODEL_SIGNATURES = 7      /* [SignatureDef] */
};
enum { /* OperatorCode */
    CR_TFL_CODE_SMALL = 0,   /* i8: the code, at most 127 */
    CR_TFL_CODE_CUSTOM = 1,  /* string */
    CR_TFL_CODE_VERSION = 2, /* i32, 1 if absent */
    CR_TFL_CODE_BUILTIN = 3  /* i32: the code; files of before 2020 lack it: take the larger of both */
};
enum { /* SubGraph */
    CR_TFL_GRAPH_TENSORS = 0,   /* [Tensor] */
    CR_TFL_GRAPH_INPUTS = 1,    /* [i32] */
    CR_TFL_GRAPH_OUTPUTS = 2,   /* [i32] */
    CR_TFL_GRAPH_OPERATORS = 3, /* [Operator], in the order in which they run */
    CR_TFL_GRAPH_NAME = 4       /* string */
};
enum { /* Tensor */
    CR_TFL_TENSOR_SHAPE = 0,        /* [i32] */
    CR_TFL_TENSOR_TYPE = 1,         /* i8, cr_tfl_type */
    CR_TFL_TENSOR_BUFFER = 2,       /* u32 */
    CR_TFL_TENSOR_NAME = 3,         /* string */
    CR_TFL_TENSOR_QUANTIZATION = 4, /* QuantizationParameters */
    CR_TFL_TENSOR_VARIABLE = 5,     /* bool */
    CR_TFL_TENSOR_SPARSITY = 6,     /* SparsityParameters */
    CR_TFL_TENSOR_SIGNATURE = 7,    /* [i32]: the shape with -1 for what may change */
    CR_TFL_TENSOR_HAS_RANK = 8      /* bool */
};
enum { /* QuantizationParameters: real = scale * (code - zero point) */
    CR_TFL_QUANT_MIN = 0,        /* [f32] */
    CR_TFL_QUANT_MAX = 1,        /* [f32] */
    CR_TFL_QUANT_SCALE = 2,      /* [f32]: one, or one per index of the axis */
    CR_TFL_QUANT_ZERO_POINT = 3, /* [i64] */
    CR_TFL_QUANT_DETAILS_TYPE = 4, /* u8 union: 1 custom, 2 blocks, 3 several axes */
    CR_TFL_QUANT_AXIS = 6        /* i32 */
};
enum { /* Buffer */
    CR_TFL_BUFFER_DATA = 0,   /* [u8], aligned to 16 */
    CR_TFL_BUFFER_OFFSET = 1, /* u64: files beyond 2 GB keep data behind the FlatBuffer */
    CR_TFL_BUFFER_SIZE = 2    /* u64 */
};
enum { /* Operator */
    CR_TFL_OPERATOR_CODE = 0,         /* u32, index into the model's codes */
    CR_TFL_OPERATOR_INPUTS = 1,       /* [i32], -1: absent */
    CR_TFL_OPERATOR_OUTPUTS = 2,      /* [i32] */
    CR_TFL_OPERATOR_OPTIONS_TYPE = 3, /* u8 union */
    CR_TFL_OPERATOR_OPTIONS = 4,      /* table */
    CR_TFL_OPERATOR_CUSTOM = 5        /* [u8] */
};
enum { /* Metadata */
    CR_TFL_METADATA_NAME = 0,  /* string */
    CR_TFL_METADATA_BUFFER = 1 /* u32 */
};
enum { /* SignatureDef */
    CR_TFL_SIGNATURE_INPUTS = 0,   /* [TensorMap] */
    CR_TFL_SIGNATURE_OUTPUTS = 1,  /* [TensorMap] */
    CR_TFL_SIGNATURE_KEY = 2,      /* string */
    CR_TFL_SIGNATURE_SUBGRAPH = 4, /* u32 */
    CR_TFL_TENSOR_MAP_NAME = 0,    /* string */
    CR_TFL_TENSOR_MAP_INDEX = 1    /* u32 */
};

/* Options of operators. Absent numbers are 0, absent dilations 1. */
enum { /* Conv2D */
    CR_TFL_CONV_PADDING = 0,    /* i8 */
    CR_TFL_CONV_STRIDE_W = 1,   /* i32 */
    CR_TFL_CONV_STRIDE_H = 2,   /* i32 */
    CR_TFL_CONV_ACT = 3,        /* i8 */
    CR_TFL_CONV_DILATION_W = 4, /* i32 */
    CR_TFL_CONV_DILATION_H = 5  /* i32 */
};
enum { /* DepthwiseConv2D: as Conv2D up to the strides */
    CR_TFL_DW_MULTIPLIER = 3, /* i32: output channels per input channel */
    CR_TFL_DW_ACT = 4,        /* i8 */
    CR_TFL_DW_DILATION_W = 5, /* i32 */
    CR_TFL_DW_DILATION_H = 6  /* i32 */
};
enum { /* TransposeConv: padding and strides as Conv2D */
    CR_TFL_TCONV_ACT = 3 /* i8 */
};
enum { /* Pool2D: padding and strides as Conv2D */
    CR_TFL_POOL_FILTER_W = 3, /* i32 */
    CR_TFL_POOL_FILTER_H = 4, /* i32 */
    CR_TFL_POOL_ACT = 5       /* i8 */
};
enum { /* FullyConnected */
    CR_TFL_FC_ACT = 0,            /* i8 */
    CR_TFL_FC_FORMAT = 1,         /* i8, 0 */
    CR_TFL_FC_KEEP_DIMS = 2,      /* bool */
    CR_TFL_FC_ASYMMETRIC = 3      /* bool: of dynamic ranges */
};
enum {
    CR_TFL_BINARY_ACT = 0,         /* Add, Sub, Mul, Div, L2Norm: i8 */
    CR_TFL_BINARY_POT_SCALE = 1,   /* Add, Sub: bool, TRUE if absent: 16-bit scales are powers of two */
    CR_TFL_SOFTMAX_BETA = 0,       /* f32 */
    CR_TFL_CONCAT_AXIS = 0,        /* i32 */
    CR_TFL_CONCAT_ACT = 1,         /* i8 */
    CR_TFL_RESHAPE_SHAPE = 0,      /* [i32] */
    CR_TFL_BILINEAR_ALIGN = 2,     /* bool */
    CR_TFL_BILINEAR_HALF = 3,      /* bool */
    CR_TFL_NEAREST_ALIGN = 0,      /* bool */
    CR_TFL_NEAREST_HALF = 1,       /* bool */
    CR_TFL_BLOCK_SIZE = 0,         /* DepthToSpace, SpaceToDepth: i32 */
    CR_TFL_GATHER_AXIS = 0,        /* i32 */
    CR_TFL_GATHER_BATCH_DIMS = 1,  /* i32 */
    CR_TFL_REDUCE_KEEP_DIMS = 0,   /* bool */
    CR_TFL_SQUEEZE_DIMS = 0,       /* [i32] */
    CR_TFL_SPLIT_COUNT = 0,        /* Split, SplitV: i32 */
    CR_TFL_STRIDED_BEGIN_MASK = 0, /* i32, as the four behind it */
    CR_TFL_STRIDED_END_MASK = 1,
    CR_TFL_STRIDED_ELLIPSIS_MASK = 2,
    CR_TFL_STRIDED_NEW_AXIS_MASK = 3,
    CR_TFL_STRIDED_SHRINK_MASK = 4,
    CR_TFL_STRIDED_OFFSET = 5,     /* bool */
    CR_TFL_CAST_FROM = 0,          /* i8 */
    CR_TFL_CAST_TO = 1,            /* i8 */
    CR_TFL_PACK_COUNT = 0,         /* Pack, Unpack: i32 */
    CR_TFL_PACK_AXIS = 1,          /* i32 */
    CR_TFL_LEAKY_ALPHA = 0,        /* f32 */
    CR_TFL_ARG_TYPE = 0,           /* i8 */
    CR_TFL_MIRROR_MODE = 0,        /* i8 */
    CR_TFL_GELU_APPROXIMATE = 0,   /* bool */
    CR_TFL_MATMUL_ADJ_X = 0,       /* bool */
    CR_TFL_MATMUL_ADJ_Y = 1,       /* bool */
    CR_TFL_MATMUL_ASYMMETRIC = 2   /* bool */
};

#endif
