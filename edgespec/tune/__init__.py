"""Makes, proves and remembers the fastest draft for a target on this machine.

    TuneRequest -> Search: make variants -> PredictionTable -> finalists -> TuneOutcome -> save_result

A variant is a file: the target in another type; a draft with a shortlist, with fewer blocks, or distilled. The target
answers some questions once; every draft variant reads the answers, which says what it would have guessed; the real loop
and policy replay them on a clock that measured costs advance. The best few are then run for real, side by side, on prompts
that the search never saw.
"""
