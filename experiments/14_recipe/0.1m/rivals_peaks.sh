paradigms.average_falling.peak=0.007
paradigms.merged_15.peak=0.007
paradigms.wsd_s.peak=0.007
paradigms.replayed.peak=0.007
paradigms.infinite_60.peak=0.007
