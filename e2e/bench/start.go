package main

import (
	"context"
	"fmt"

	"github.com/drover-io/drover/e2e/herd"
)

const maxStart = 1 // second

// measureStart measures agent --dev from the start of its process until it is ready: each time on a new machine with an empty data
// directory, its containerd included.
func measureStart(ctx context.Context, o options) ([]figure, error) {
	f := figure{bench: "dev-start", unit: "s", sense: atMost, bound: maxStart}
	again := figure{bench: "dev-restart", unit: "s"}
	err := onWire(o, func(w *herd.Wire) error {
		for i := range o.runs {
			s, err := newSolo(w, o, fmt.Sprintf("start%d", i+1))
			if err != nil {
				return err
			}
			took, err := s.startReady(ctx)
			if err != nil {
				return err
			}
			f.values = append(f.values, took.Seconds())
			if took, err = s.restart(ctx); err != nil {
				return err
			}
			again.values = append(again.values, took.Seconds())
			if err := s.PowerOff(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f.add("ready", "the API says that server and client are well, and the node is ready")
	again.add("note", "killed and started again on the same data directory; its containerd ran on")
	return []figure{f, again}, nil
}
