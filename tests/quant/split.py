"""Split models, as llama-gguf-split writes them."""

from pathlib import Path

import gguf
import numpy as np


def split_in_two(source: Path, folder: Path) -> list[Path]:
    """The model in two parts, as llama-gguf-split lays them out: every key in the first, tensors in both."""
    folder.mkdir()
    reader = gguf.GGUFReader(source)
    middle = len(reader.tensors) // 2
    paths = [folder / f"{source.stem}-0000{number}-of-00002.gguf" for number in (1, 2)]
    for number, tensors in enumerate((reader.tensors[:middle], reader.tensors[middle:])):
        writer = gguf.GGUFWriter(paths[number], "llama")
        for name, field in reader.fields.items() if number == 0 else ():
            if name.startswith("GGUF.") or name == "general.architecture":
                continue
            sub_type = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub_type)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, np.array(tensor.data))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths
