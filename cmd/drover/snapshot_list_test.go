package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
)

// TestScheduledSnapshotIsListedAndRestored: what a server has saved by itself is found with list, and restore takes it.
func TestScheduledSnapshotIsListedAndRestored(t *testing.T) {
	t.Parallel()
	h := newHerd(t, func(c *agent.Config) { c.Server.Snapshots.Interval = time.Hour }).ready()
	var path string
	h.wait("a snapshot", func(ctx context.Context) error {
		v, err := h.api.SnapshotFiles(ctx, api.AgentRef{})
		if err == nil && len(v.Files) == 0 {
			err = errors.New("none yet")
		}
		if err == nil {
			path = v.Files[0].Path
		}
		return err
	})
	lines := strings.Split(h.must("operator", "snapshot", "list"), "\n")
	if !strings.HasPrefix(lines[0], "Server  Taken ") || !strings.HasPrefix(lines[1], "n1 ") || !strings.HasSuffix(lines[1], path) || len(lines) != 3 {
		t.Errorf("%q", lines)
	}
	if out := h.must("operator", "snapshot", "restore", path); !strings.Contains(out, "restored from "+path) {
		t.Error(out)
	}
}
