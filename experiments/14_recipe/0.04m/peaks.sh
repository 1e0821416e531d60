paradigms.from_scratch.peak=0.01
paradigms.from_scratch_in_order.peak=0.01
paradigms.own_60.peak=0.01
paradigms.union_60.peak=0.01
paradigms.union_15.peak=0.01
paradigms.schedule_free.peak=0.02
paradigms.schedule_free_union_15.peak=0.02
paradigms.average.peak=0.005
