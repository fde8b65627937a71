package main

import (
	"context"
	"fmt"
	"time"
)

const (
	copies    = 100
	maxCopies = 1.5 // times bare containerd: 1.0 to 1.3 were measured
	atOnce    = 16  // containers that bare containerd is asked for at a time
)

// measureCopies starts a hundred copies on one node by Drover, and as many by bare containerd.
func measureCopies(ctx context.Context, o options) ([]figure, error) {
	ratio := figure{bench: "copies-100", unit: "× bare", sense: atMost, bound: maxCopies}
	took, plain := figure{bench: "copies-100-time", unit: "s"}, figure{bench: "copies-100-bare-time", unit: "s"}
	err := onRig(ctx, o, func(r *rig) error {
		if _, _, err := r.pair(ctx); err != nil { // the first takes the image in
			return err
		}
		for i := range o.runs {
			mine, err := r.manyCopies(ctx, fmt.Sprintf("copies-%d", i))
			if err != nil {
				return err
			}
			theirs, err := r.manyBare(ctx)
			if err != nil {
				return err
			}
			took.values, plain.values = append(took.values, mine.Seconds()), append(plain.values, theirs.Seconds())
			ratio.values = append(ratio.values, mine.Seconds()/theirs.Seconds())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ratio.add("copies_per_s", round(copies/took.value()))
	ratio.add("bare_per_s", round(copies/plain.value()))
	ratio.add("bare_at_once", atOnce)
	return []figure{ratio, took, plain}, nil
}

// manyCopies measures from before the job is sent until the API says that all copies run.
func (r *rig) manyCopies(ctx context.Context, id string) (time.Duration, error) {
	job, err := containerJob(id, copies, r.tar)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := register(ctx, r.api, job); err != nil {
		return 0, err
	}
	if err := waitCopies(ctx, r.api, id, copies); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, end(ctx, r.api, id)
}

func (r *rig) manyBare(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	all, err := r.bare.startMany(ctx, copies, atOnce)
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("bare containerd: %w", err)
	}
	return took, r.bare.removeMany(ctx, all, atOnce)
}
