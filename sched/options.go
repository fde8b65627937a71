package sched

import (
	"time"

	"github.com/drover-io/drover/state"
)

// Algorithm says which of several fitting nodes is the best.
type Algorithm string

// Placement algorithms.
const (
	BinPack Algorithm = state.AlgorithmBinPack // fill nodes one after the other, so that large asks still find room
	Spread  Algorithm = state.AlgorithmSpread  // keep all nodes equally free
)

// Options are the settings of the deciders. Fields that are zero have the value of DefaultOptions.
type Options struct {
	Algorithm    Algorithm     // where neither the job's node pool nor the cluster's scheduler configuration says
	LostAfter    time.Duration // a node disconnected for so long is down
	EvictionHold time.Duration // how long the guard holds all evictions of a pool that went silent as a whole
	PlanCopies   int           // copies changed by one plan at most; an all_at_once group may be larger

	firstLook   int // candidates that a bucket is filled with at first, at most; tests lower it
	sampleEvery int // how many nodes there are for one of the sample; tests lower it
}

// DefaultOptions returns the settings of a cluster that nobody has tuned.
func DefaultOptions() Options {
	return Options{
		Algorithm:    BinPack,
		LostAfter:    5 * time.Minute,
		EvictionHold: 15 * time.Minute,
		PlanCopies:   2000,
	}
}

// orDefault fills in what is not set.
func (o Options) orDefault() Options {
	d := DefaultOptions()
	if o.Algorithm == "" {
		o.Algorithm = d.Algorithm
	}
	if o.LostAfter <= 0 {
		o.LostAfter = d.LostAfter
	}
	if o.EvictionHold <= 0 {
		o.EvictionHold = d.EvictionHold
	}
	if o.PlanCopies <= 0 {
		o.PlanCopies = d.PlanCopies
	}
	if o.firstLook <= 0 {
		o.firstLook = firstLook
	}
	if o.sampleEvery <= 0 {
		o.sampleEvery = sampleEvery
	}
	return o
}

// earlier returns the sooner of two times, 0 meaning never.
func earlier(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
