"""The page's theme: Gradio's own with system fonts and the contrast that WCAG AA requires. The rest is in static/page/style.css."""

import gradio as gr

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
    radius_size=gr.themes.sizes.radius_md,
).set(
    body_background_fill="*neutral_50",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_cancel_background_fill="#b91c1c",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_400",
    color_accent="*primary_700",
)
