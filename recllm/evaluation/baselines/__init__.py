"""What any recommender has to beat: baselines, each small and complete, tuned by `recllm.evaluation.tuning`.

One more is a class (see `baseline.Baseline`) and a line in `registry.BASELINES`; one of your own stays where it is and
is made known by `registry.register`.
"""
