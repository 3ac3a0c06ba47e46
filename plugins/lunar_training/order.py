"""The hooks of a run as the Trainer fires them: what people see in ``lunar hooks`` and tests compare with real runs."""

from __future__ import annotations

_RUN = """
configure
setup
  model_built
  configure_optimizers
  configure_loader
  fit_start
    epoch_start
      sampler_order
      stage_start
        before_fetch
        after_fetch
        batch_start
          micro_start
            before_forward
              module_forward_pre
                op_forward_pre
                alloc
                op_forward_post
              module_forward_post
            after_forward
            before_loss
            after_loss
            loss_nonfinite
            before_backward
              module_backward_pre
                op_backward_pre
                op_backward_post
                free
              module_backward_post
              param_grad_ready
            after_backward
          micro_end
          before_allreduce
          after_accumulate
          grads_ready
          before_step
            optimizer_step
          after_step
          scheduler_step
        batch_end
        exception
      stage_end
      eval_start
        eval_batch_start
        eval_batch_end
        metric_compute
      eval_end
    epoch_end
    log
    should_save
      checkpoint_collect
      before_write
      after_commit
      prune
    flush
  fit_end
  report_render
  predict_start
    predict_batch_start
    predict_batch_end
  predict_end
  checkpoint_restore
  signal
  plugin_error
teardown
component_loaded
conflict
register_commands
"""

#: (hook without its prefix, how deep in the loop it lies), in the order of a run.
LOOP: tuple[tuple[str, int], ...] = tuple(
    (line.strip(), (len(line) - len(line.lstrip())) // 2) for line in _RUN.strip().splitlines()
)
