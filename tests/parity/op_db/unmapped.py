"""Why an operator of PyTorch's table (2.13) has no spelling, how many samples are declined, which refused inputs are good."""

REASONS = {
    text: names.split()
    for text, names in {
        "draws from PyTorch's own generator": """
            cauchy exponential geometric log_normal normal normal/in_place normal/number_mean uniform multinomial
            bernoulli rand_like randint randint_like randn randn_like nn.functional.dropout nn.functional.dropout2d
            nn.functional.dropout3d nn.functional.alpha_dropout nn.functional.feature_alpha_dropout/with_train
            nn.functional.feature_alpha_dropout/without_train nn.functional.rrelu nn.functional.fractional_max_pool2d
            nn.functional.fractional_max_pool3d svd_lowrank pca_lowrank
        """,
        "gives memory whose values are not set, or writes in place into an array of another size": """
            empty empty_like empty_permuted empty_strided new_empty new_empty_strided resize_ resize_as_ zero_
        """,
        "is about strides, views, lazy conjugation or devices, which are not part of our arrays' interface": """
            as_strided as_strided/partial_views as_strided_copy as_strided_scatter alias_copy contiguous item resolve_conj
            resolve_neg view_as_complex view_as_real scalar_tensor bfloat16 chalf
        """,
        "is a product and a sum in one, which are two operators here": """
            addbmm addcdiv addcmul addmm addmm/decomposed addmv addr baddbmm dist masked_scatter
        """,
        "is sparse, segmented, compiled at run time or a private part of PyTorch": """
            sparse.mm/reduce sparse.sampled_addmm to_sparse jiterator_2inputs_2outputs jiterator_4inputs_with_extra_args
            jiterator_binary jiterator_binary_return_by_ref jiterator_unary _batch_norm_with_update _chunk_cat
            _native_batch_norm_legit _segment_reduce/lengths _segment_reduce/offsets _softmax_backward_data
            _unsafe_masked_index _unsafe_masked_index_put_accumulate _upsample_bilinear2d_aa native_dropout_backward
            native_group_norm max_pool2d_with_indices_backward torch._scaled_mm torch._scaled_mm_v2 bmm/triton_optimized
            torch.ops.aten._efficient_attention_forward torch.ops.aten._flash_attention_forward
            torch.ops.aten._safe_softmax.default hash_tensor nn.functional.batch_norm/without_cudnn
            nn.functional.linear_cross_entropy nn.functional.linear_cross_entropy/chunked
            nn.functional.linear_cross_entropy/chunked_none nn.functional.multi_head_attention_forward
        """,
        "is a loss or a layer here, compared with PyTorch among those": """
            nn.functional.binary_cross_entropy nn.functional.cosine_embedding_loss nn.functional.gaussian_nll_loss
            nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.kl_div nn.functional.l1_loss
            nn.functional.margin_ranking_loss nn.functional.mse_loss nn.functional.multi_margin_loss
            nn.functional.multilabel_margin_loss nn.functional.multilabel_soft_margin_loss nn.functional.nll_loss
            nn.functional.poisson_nll_loss nn.functional.smooth_l1_loss nn.functional.soft_margin_loss
            nn.functional.threshold nn.functional.triplet_margin_loss nn.functional.triplet_margin_with_distance_loss
        """,
        "is a reduction of a masked array": """
            masked.amax masked.amin masked.argmax masked.argmin masked.cumprod masked.cumsum masked.log_softmax
            masked.logaddexp masked.logsumexp masked.mean masked.median masked.norm masked.normalize masked.prod
            masked.softmax masked.softmin masked.std masked.sum masked.var
        """,
        "is a factorization, solver or function of matrices without a counterpart": """
            cholesky_inverse cholesky_solve geqrf linalg.eig linalg.householder_product linalg.ldl_factor
            linalg.ldl_factor_ex linalg.ldl_solve linalg.lstsq linalg.lu_factor_ex linalg.lu_solve linalg.matrix_rank
            linalg.matrix_rank/hermitian linalg.vander lu lu_solve lu_unpack ormqr triangular_solve
        """,
        "is a special function or polynomial without a counterpart": """
            igamma igammac mvlgamma/mvlgamma_p_1 mvlgamma/mvlgamma_p_3 mvlgamma/mvlgamma_p_5 special.airy_ai
            special.bessel_j0 special.bessel_j1 special.bessel_y0 special.bessel_y1 special.chebyshev_polynomial_t
            special.chebyshev_polynomial_u special.chebyshev_polynomial_v special.chebyshev_polynomial_w
            special.hermite_polynomial_h special.hermite_polynomial_he special.laguerre_polynomial_l
            special.legendre_polynomial_p special.modified_bessel_k0 special.modified_bessel_k1
            special.scaled_modified_bessel_k0 special.scaled_modified_bessel_k1 special.shifted_chebyshev_polynomial_t
            special.shifted_chebyshev_polynomial_u special.shifted_chebyshev_polynomial_v
            special.shifted_chebyshev_polynomial_w special.spherical_bessel_j0 special.zeta
        """,
        "is a window": """
            signal.windows.bartlett signal.windows.blackman signal.windows.cosine signal.windows.exponential
            signal.windows.gaussian signal.windows.general_cosine signal.windows.general_hamming signal.windows.hamming
            signal.windows.hann signal.windows.kaiser signal.windows.nuttall
        """,
        "has only samples with arguments that ours has none of: negative widths, a low threshold": """
            nn.functional.pad/replicate_negative nn.functional.softplus
        """,
        "has no counterpart": """
            H broadcast_shapes cartesian_prod combinations complex diagonal_scatter fft.hfft2 fft.hfftn fft.ihfft2
            fft.ihfftn gradient histogramdd linspace/tensor_overload logspace/tensor_overload mH nanmedian
            nn.functional.normalize nn.functional.pdist nonzero_static renorm sum_to_size unique_consecutive unravel_index
        """,
    }.items()
}

# of each operator: how many of its float64 samples its spelling declines, with a reason; no other sample may differ
DECLINED = {
    "argsort": 3, "cat": 1, "constant_pad_nd": 4, "cov": 18, "cummax": 1, "cummin": 1, "cumprod": 1, "cumsum": 1,
    "gather": 3, "index_add": 3, "index_copy": 1, "index_fill": 3, "index_reduce/amax": 2, "index_reduce/amin": 2,
    "index_reduce/mean": 2, "index_reduce/prod": 2, "index_select": 1, "kthvalue": 3, "linalg.pinv/hermitian": 3,
    "log_softmax": 1, "log_softmax/with_dtype": 1, "logcumsumexp": 2, "masked_fill": 2, "meshgrid/list_of_tensors": 8,
    "meshgrid/variadic_tensors": 8, "mode": 3, "nanquantile": 30, "native_layer_norm": 5,
    "nn.functional.avg_pool2d": 5, "nn.functional.avg_pool3d": 4, "nn.functional.batch_norm": 2,
    "nn.functional.cosine_similarity": 1, "nn.functional.cross_entropy": 8, "nn.functional.hardshrink": 1,
    "nn.functional.hardtanh": 1, "nn.functional.pad/circular": 1, "nn.functional.pad/constant": 4,
    "nn.functional.pad/reflect": 1, "nn.functional.pad/replicate": 1, "nn.functional.pairwise_distance": 1,
    "nn.functional.prelu": 1, "nn.functional.rms_norm": 1, "nn.functional.scaled_dot_product_attention": 12,
    "nn.functional.softmin": 1, "nn.functional.softmin/with_dtype": 1, "nonzero": 2, "quantile": 13, "scatter": 2,
    "scatter_add": 1, "scatter_reduce/amax": 3, "scatter_reduce/amin": 3, "scatter_reduce/mean": 3,
    "scatter_reduce/prod": 3, "scatter_reduce/sum": 3, "softmax": 1, "softmax/with_dtype": 1, "sort": 3, "stft": 1,
    "tensordot": 1, "topk": 7, "unfold": 1, "unfold_copy": 1,
}  # fmt: skip

# good inputs here: the operators, a part of what is said about the input, and why
ACCEPTED = [
    ("hstack vstack dstack", "[()]", "without a tensor among its arguments the call stays NumPy's"),
    ("narrow narrow_copy", "", "a slice, which may reach beyond the end"),
    ("t t_copy", "", "transpose reverses any number of axes"),
    ("index_add", "excluding the specified dimension", "the value broadcasts"),
    ("mean", "infer output dtype", "the mean of integers is a floating number"),
    ("linalg.cross", "same number of dimensions", "the other axes broadcast"),
    ("trace", "expected a matrix", "the trace of the first two axes, as in NumPy"),
    ("native_layer_norm nn.functional.rms_norm", "normalized_shape", "without a weight there are only the axes"),
    ("nn.functional.conv3d", "strided convolutions", "same stands for n / stride results, rounded up"),
    ("nn.functional.max_pool1d", "['(0, 10)']", "an image without channels"),
    ("nn.functional.max_pool3d", "['(0, 1, 2, 10)']", "a batch without images"),
    ("arange", "inconsistent with step sign", "nothing lies between the bounds, as in NumPy"),
]


def accepted(name, about):
    """Whether an input that PyTorch refuses is a good one here."""
    return any(name in names.split() and part in about for names, part, _ in ACCEPTED)
