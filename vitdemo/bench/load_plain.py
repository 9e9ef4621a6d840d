"""The alternative to this app: a Gradio app of a few lines that calls timm, with Gradio's default settings."""

import sys
from pathlib import Path
from typing import Any


def main(folder: Path, port: int) -> None:
    """Serve the app until the process is killed."""
    import gradio as gr
    import timm
    import torch

    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    labels = model.pretrained_cfg["label_names"]

    def classify(photo):
        with torch.inference_mode():
            probabilities, indices = model(transform(photo)[None])[0].softmax(-1).topk(5)
        rows = zip(indices.tolist(), probabilities.tolist(), strict=True)
        return {"predictions": [{"label": labels[index], "probability": probability} for index, probability in rows]}

    gr.Interface(classify, gr.Image(type="pil"), gr.JSON(), api_name="classify").launch(server_port=port, quiet=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
