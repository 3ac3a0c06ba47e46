"""Why an operator with node test cases in ONNX (1.23) has no function here."""

REASONS = {
    text: names.split()
    for text, names in {
        "is an optimizer here": "Adagrad Adam Momentum",
        "is about sequences, optional values, control flow, strings or images as files": """
            Constant If Loop Scan OptionalGetElement OptionalHasElement SequenceInsert SequenceMap SplitToSequence RegexFullMatch
            StringConcat StringNormalizer StringSplit TfIdfVectorizer ImageDecoder
        """,
        "is of classical machine learning": "ArrayFeatureExtractor Binarizer LabelEncoder TreeEnsemble",
        "is quantized": """
            ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear
        """,
        "draws from ONNX's own generator": "Bernoulli",
        "is a window or a spectrogram": "BlackmanWindow HammingWindow HannWindow MelWeightMatrix STFT",
        "is a layer, a loss or a metric here, not an operator": """
            LinearAttention NegativeLogLikelihoodLoss NonMaxSuppression RotaryEmbedding SwiGLU
        """,
        "resets the state before the product with its weights, PyTorch's and our gated unit after it": "GRU",
        "has no counterpart": "BitCast CausalConvWithState DeformConv FlexAttention RoiAlign TensorScatter",
    }.items()
}
