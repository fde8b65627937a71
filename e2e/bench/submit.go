package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drover-io/drover/e2e/herd"
)

const (
	maxSubmit = 2  // times bare containerd
	pairs     = 12 // of one container each, per run
)

// rig is an agent with its daemon, used by Drover and directly.
type rig struct {
	*solo
	bare *bare
	tar  string
	jobs int
}

// onRig runs fn on an agent that is ready and has the image.
func onRig(ctx context.Context, o options, fn func(*rig) error) error {
	return onWire(o, func(w *herd.Wire) (err error) {
		r := &rig{}
		if r.solo, err = newSolo(w, o, "m1"); err != nil {
			return err
		}
		if r.tar, err = buildImage(o); err != nil {
			return err
		}
		if _, err = r.startReady(ctx); err != nil {
			return err
		}
		if r.bare, err = openBare(ctx, r.solo, r.tar); err != nil {
			return err
		}
		return errors.Join(fn(r), r.bare.close())
	})
}

// measureSubmit starts single containers by Drover and by bare containerd in turn.
func measureSubmit(ctx context.Context, o options) ([]figure, error) {
	ratio := figure{bench: "submit-to-running", unit: "× bare", sense: atMost, bound: maxSubmit}
	var submit, begun, plain []float64
	err := onRig(ctx, o, func(r *rig) error {
		if _, _, err := r.pair(ctx); err != nil { // the first takes the image in
			return err
		}
		for range o.runs {
			var mine, ran, theirs []float64
			for range pairs {
				d, p, err := r.pair(ctx)
				if err != nil {
					return err
				}
				mine, ran, theirs = append(mine, d.seen.Seconds()*1e3), append(ran, d.ran.Seconds()*1e3), append(theirs, p.Seconds()*1e3)
			}
			submit, begun, plain = append(submit, median(mine)), append(begun, median(ran)), append(plain, median(theirs))
			ratio.values = append(ratio.values, median(mine)/median(theirs))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ratio.add("submit_ms", round(median(submit))) // to the API saying that it runs
	ratio.add("started_ms", round(median(begun))) // to the process being there, by the agent's clock
	ratio.add("bare_ms", round(median(plain)))
	ratio.add("pairs_per_run", pairs)
	return []figure{ratio}, nil
}

// submitted is how long one job took.
type submitted struct {
	seen time.Duration // from before the job was sent until the API said that its container runs
	ran  time.Duration // until the container's process was started
}

// pair starts one container each way and takes both away again.
func (r *rig) pair(ctx context.Context) (submitted, time.Duration, error) {
	d, err := r.submit(ctx)
	if err != nil {
		return d, 0, err
	}
	began := time.Now()
	s, err := r.bare.start(ctx)
	took := time.Since(began)
	if err != nil {
		return d, 0, fmt.Errorf("bare containerd: %w", err)
	}
	return d, took, r.bare.remove(ctx, s)
}

func (r *rig) submit(ctx context.Context) (submitted, error) {
	r.jobs++
	id := fmt.Sprintf("submit-%d", r.jobs)
	job, err := containerJob(id, 1, r.tar)
	if err != nil {
		return submitted{}, err
	}
	began := time.Now()
	index, err := register(ctx, r.api, job)
	if err != nil {
		return submitted{}, err
	}
	alloc, err := waitRunning(ctx, r.api, id, index)
	d := submitted{seen: time.Since(began)}
	if err != nil {
		return d, err
	}
	d.ran = time.Unix(0, alloc.TaskStates["hello"].StartedAt).Sub(began)
	return d, end(ctx, r.api, id)
}
