"""A GGUF file with a tensor of every supported type, and what its numbers are: the `gguf` package.

    venv/bin/pip install gguf safetensors
    venv/bin/python oracle/make_gguf_golden.py tests/golden/gguf

types.gguf: metadata of all types (the test knows their values); tensors "f32" to "q6_k" with random
    blocks, and blocks whose bytes are all alike or whose scales are zero, tiny, huge or infinite.
expected.safetensors: for each of the weight types the same tensor expanded to F32; and "q8_0.from"
    (F32) with "q8_0.made" (U8), the blocks that quantising makes of it.
"""
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value
from gguf import GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import save_file

HALVES = {  # where the fp16 scales stand in a block
    Type.Q4_0: (0,), Type.Q4_1: (0, 2), Type.Q5_0: (0,), Type.Q5_1: (0, 2), Type.Q8_0: (0,),
    Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,),
}
EXTREME = [0.0, -0.0, 2.0 ** -24, -(2.0 ** -14), 65504.0, -65504.0, np.inf, np.nan]
random = np.random.default_rng(20)


def blocks_of(kind):
    """Rows of two blocks: usual scales, then every extreme one, then bytes that are all alike."""
    size = GGML_QUANT_SIZES[kind][1]
    blocks = random.integers(0, 256, (4 + len(EXTREME) + 4, size), dtype=np.uint8)
    for at in HALVES[kind]:
        scales = random.normal(0, 0.02, len(blocks)).astype(np.float16)
        scales[4:4 + len(EXTREME)] = np.roll(np.array(EXTREME, dtype=np.float16), at // 2)
        blocks[:, at:at + 2] = scales.view(np.uint8).reshape(-1, 2)
    for i, byte in enumerate((0x00, 0x0f, 0xf0)):
        keep = blocks[-4 + i].copy()
        blocks[-4 + i] = byte
        for at in HALVES[kind]:
            blocks[-4 + i, at:at + 2] = keep[at:at + 2]
    blocks[-1] = 0xff
    return blocks.reshape(-1, 2 * size)


def add_metadata(w):
    w.add_custom_alignment(64)
    w.add_uint8("test.u8", 200)
    w.add_int8("test.i8", -100)
    w.add_uint16("test.u16", 60000)
    w.add_int16("test.i16", -30000)
    w.add_int32("test.i32", -2000000000)
    w.add_float32("test.f32", 0.1)
    w.add_bool("test.bool", True)
    w.add_string("test.text", "grün\n\"1\"")
    w.add_uint64("test.u64", 2 ** 63 + 2 ** 40)
    w.add_int64("test.i64", -(2 ** 62))
    w.add_float64("test.f64", 1e-300)
    w.add_array("test.texts", ["", "a", "naïve", "x" * 300])
    for name, kind, values in (
            ("u8s", Value.UINT8, [0, 255]), ("i8s", Value.INT8, [-128, 127]),
            ("u16s", Value.UINT16, [0, 65535]), ("i16s", Value.INT16, [-32768, 32767]),
            ("u32s", Value.UINT32, [0, 2 ** 32 - 1]), ("i32s", Value.INT32, [-(2 ** 31), 1]),
            ("f32s", Value.FLOAT32, [0.5, -3.25]), ("bools", Value.BOOL, [True, False]),
            ("u64s", Value.UINT64, [0, 2 ** 63 - 1]), ("i64s", Value.INT64, [-(2 ** 63), 1]),
            ("f64s", Value.FLOAT64, [1e300, -0.125])):
        w.add_key_value("test." + name, values, Value.ARRAY, sub_type=kind)


def main(folder):
    w = GGUFWriter(None, "test")
    add_metadata(w)
    expected = {}
    bits = random.integers(0, 2 ** 16, (3, 100), dtype=np.uint16)
    bits[0, :12] = (0, 1, 0x3ff, 0x400, 0x7bff, 0x7c00, 0x7c01, 0x7e00, 0x8000, 0x83ff, 0xfc00, 0xffff)
    floats = random.normal(size=(2, 3, 5)).astype(np.float32)
    w.add_tensor("f32", floats)
    w.add_tensor("f16", bits.view(np.float16))
    w.add_tensor("bf16", bits.view(np.uint8), raw_dtype=Type.BF16)
    expected["f32"] = floats
    expected["f16"] = bits.view(np.float16).astype(np.float32)
    expected["bf16"] = quants.dequantize(bits.view(np.uint8), Type.BF16)
    for kind in HALVES:
        blocks = blocks_of(kind)
        w.add_tensor(kind.name.lower(), blocks, raw_dtype=kind)
        with np.errstate(invalid="ignore", over="ignore"):
            expected[kind.name.lower()] = quants.dequantize(blocks, kind)
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.float64):
        name = np.dtype(dtype).name.replace("int", "i").replace("float", "f")
        w.add_tensor(name, np.array([-3, 0, 7, 100], dtype=dtype))
    w.write_header_to_file(folder + "/types.gguf")
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    values = random.normal(size=(24, 32)).astype(np.float32)
    values *= np.logspace(-12, 6, 24, dtype=np.float32)[:, None]
    values[3] = 0
    values[4, :] = -0.0
    values[5] = np.arange(32) - 15.5  # halves
    values[5, 0] = 127
    with np.errstate(over="ignore"):
        made = quants.quantize(values, Type.Q8_0)
    expected["q8_0.from"] = values
    expected["q8_0.made"] = made
    save_file(expected, folder + "/expected.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
