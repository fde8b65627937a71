package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd"
)

// reclaimTimeout bounds how long the machine is asked who it was. Ending what a daemon without its database ran is part of it.
const reclaimTimeout = 2 * time.Minute

// reclaim finds out who this machine was when its data directory is new: what runs on it carries the node's ID. Taking the ID back
// keeps what runs; under a new one the cluster would end it and start it again elsewhere. What runs for several IDs (a directory
// restored in the wrong place) proves nothing, and a new ID is kept.
func (a *Agent) reclaim(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reclaimTimeout)
	defer cancel()
	ids, err := a.witnesses(ctx)
	if err != nil {
		// Going on under a new ID would leave what runs here to nobody, for ever: try again with the next start.
		return errors.Join(fmt.Errorf("ask what runs on this machine who it was, because its data directory is new: %w", err), a.dir.Forget())
	}
	delete(ids, "")
	if len(ids) != 1 {
		if len(ids) > 1 {
			a.log.Warn("what runs on this machine carries several node IDs; keeping a new one", "ids", fmt.Sprint(ids))
		}
		return nil
	}
	for id := range ids {
		if _, err := uuid.Parse(id); err != nil {
			return nil
		}
		if err := a.dir.Remember(func(i *Identity) { i.NodeID = id }); err != nil {
			return err
		}
		a.id.NodeID = id
		a.log.Warn("the data directory is new; the node ID was taken back from what runs on this machine", "node_id", id)
	}
	return nil
}

// witnesses are the node IDs on the labels of what this data directory's drivers run, with how often each was seen.
func (a *Agent) witnesses(ctx context.Context) (map[string]int, error) {
	ids := map[string]int{}
	drivers := a.opts.Drivers
	if drivers == nil {
		plain, err := a.openExec()
		if err != nil {
			return nil, err
		}
		drivers = map[string]runtime.Driver{plain.Name(): plain}
		if os.Geteuid() == 0 {
			found, err := containerd.NodeIDs(ctx, containerd.Config{Address: a.cfg.Drivers.ContainerdAddress, DataDir: a.cfg.DataDir, Logger: a.log})
			if err != nil {
				return nil, err
			}
			for _, id := range found {
				ids[id]++
			}
		}
	}
	for _, d := range drivers {
		found, err := d.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			ids[f.Labels[runtime.LabelNode]]++
		}
	}
	return ids, nil
}
