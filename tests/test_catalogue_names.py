"""The names that the package promises: each stands for a component of its own, which loads."""

from __future__ import annotations

import pytest

import lunar_core as lc

NAMES = {
    "activation": """relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu hardswish hardsigmoid hardtanh mish softplus
        softsign tanh tanhshrink softshrink hardshrink sigmoid log_sigmoid softmax log_softmax softmin sparsemax glu swiglu
        geglu reglu maxout threshold linear""",
    "initializer": """zeros ones constant uniform normal truncated_normal xavier_uniform xavier_normal he_uniform he_normal
        lecun_uniform lecun_normal orthogonal identity dirac sparse variance_scaling auto""",
    "loss": """mse mae huber smooth_l1 log_cosh quantile cross_entropy softmax_cross_entropy bce bce_with_logits nll kl_div
        js_div focal dice tversky jaccard lovasz hinge squared_hinge multi_margin multilabel_margin margin_ranking
        cosine_embedding triplet contrastive nt_xent clip ctc poisson_nll gaussian_nll giou diou ciou dfl wasserstein lsgan
        gan gradient_penalty dino masked_reconstruction distillation perceptual total_variation composite""",
    "metric": """accuracy top_k_accuracy balanced_accuracy precision recall f1 fbeta confusion_matrix auroc
        average_precision matthews_corrcoef cohen_kappa calibration_error mae mse rmse r2 explained_variance mape iou dice
        mean_average_precision perplexity bleu rouge_l word_error_rate psnr ssim inception_score fid""",
    "optimizer": """sgd adam adamw nadam radam adamax rmsprop adagrad adadelta rprop asgd lbfgs adafactor muon
        adabound adanorm adabelief yogi lion signum lars lamb novograd adan madgrad qhadam laprop shampoo soap sophia
        adahessian ademamix adopt mars came prodigy dadaptation schedule_free_sgd schedule_free_adamw psgd_kron galore
        stable_adamw ranger ranger21 swats
        lookahead sam swa ema cautious gradient_centralization adaptive_gradient_clipping hybrid maml""",
    "scheduler": """constant step multistep exponential linear polynomial inverse_time inverse_sqrt noam cosine
        cosine_restarts cosine_decayed_restarts cosine_power cosine_min tanh cyclic one_cycle slanted_triangular
        flat_then_anneal one_minus_sqrt wsd rex chebyshev plateau greedy adas piecewise lambda multiplicative swa_lr
        proportion time_based warmup sequential chained per_layer""",
    "regularizer": """l1 l2 elastic_net group_lasso max_norm min_max_norm non_neg unit_norm orthogonal spectral nuclear
        contractive jacobian hessian_trace fisher_trace diversity variance entropy kl_to_prior adversarial
        attention_entropy graph_laplacian activity information_bottleneck noise r1 drop_connect""",
    "parametrization": "weight_norm spectral_norm orthogonal symmetric low_rank",
    "gradient_processor": """clip_by_norm clip_by_value clip_by_global_norm adaptive_clip centralize normalize noise
        accumulate drop_nonfinite ema_of_norm pcgrad""",
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_is_registered(kind):
    assert set(NAMES[kind].split()) - set(lc.registry.names(kind)) == set()


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_loads_a_class_of_its_own(kind):
    classes = {name: lc.registry.get(kind, name) for name in NAMES[kind].split()}
    assert len(set(classes.values())) == len(classes)
    for name, cls in classes.items():
        assert cls.kind == kind and cls.__doc__, name
