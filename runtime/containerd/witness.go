package containerd

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/drover-io/drover/runtime"
)

// NodeIDs are the node IDs on the labels of the containers that were made for cfg.DataDir, for an agent that has lost its own. It
// starts no daemon: where none answers nothing runs. A daemon of our own whose directory was removed with the rest is asked too, and
// ended with its containers: without its database it can neither start nor describe anything, and would be in the way of the next.
func NodeIDs(ctx context.Context, cfg Config) ([]string, error) {
	if cfg.Namespace == "" {
		cfg.Namespace = "drover"
	}
	address := cfg.Address
	if address == "" && listens(HostAddress) {
		address = HostAddress
	}
	if address != "" {
		return nodeIDsAt(ctx, cfg, address)
	}
	return endOrphanedDaemon(ctx, cfg)
}

// nodeIDsAt reads the labels at one daemon.
func nodeIDsAt(ctx context.Context, cfg Config, address string) ([]string, error) {
	c, err := client.New(address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // only read
	ctx = namespaces.WithNamespace(ctx, cfg.Namespace)
	list, err := c.ContainerService().List(ctx)
	if err != nil {
		return nil, explain(err, "list containers")
	}
	var ids []string
	for _, x := range list {
		// Agents may share a daemon: a container is this directory's when its own directories are below it.
		if id := x.Labels[runtime.LabelNode]; id != "" && x.Spec != nil && strings.Contains(string(x.Spec.GetValue()), `"`+cfg.DataDir+"/") {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// endOrphanedDaemon ends a daemon of our own that has lost its directory, and everything it ran.
func endOrphanedDaemon(ctx context.Context, cfg Config) ([]string, error) {
	d := NewDaemon(DaemonConfig{Dir: cfg.dir(), Logger: cfg.Logger})
	if d.PID() != 0 || !listens(d.Address()) {
		return nil, nil
	}
	pid, err := peerPID(d.Address())
	if err != nil {
		return nil, err
	}
	ids, err := nodeIDsAt(ctx, cfg, d.Address())
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := removeAll(ctx, cfg, d.Address(), id); err != nil {
			return nil, err
		}
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	if cfg.Logger != nil {
		cfg.Logger.Warn("ended our own containerd: its directory was removed", "pid", pid)
	}
	return ids, nil
}

// removeAll removes every container of a node at a daemon.
func removeAll(ctx context.Context, cfg Config, address, nodeID string) error {
	cfg.Address, cfg.NodeID = address, nodeID
	d, err := Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // nothing is kept
	found, err := d.List(ctx)
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := d.Remove(ctx, f.ID); err != nil {
			return err
		}
	}
	return nil
}
