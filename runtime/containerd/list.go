package containerd

import (
	"context"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"

	"github.com/drover-io/drover/runtime"
)

const listTimeout = 30 * time.Second

// List finds the containers with this node's label. Several agents may share one daemon; they do not see each other's.
func (d *Driver) List(ctx context.Context) ([]runtime.Found, error) {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list, err := s.ContainerService().List(ctx, `labels."`+runtime.LabelNode+`"==`+quote(d.cfg.NodeID))
	if err != nil {
		return nil, explain(err, "list containers")
	}
	running, err := s.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, explain(err, "list tasks")
	}
	procs := map[string]*tasktypes.Process{}
	for _, p := range running.Tasks {
		procs[p.ID] = p
	}
	cluster := d.cfg.ClusterID()
	found := make([]runtime.Found, 0, len(list))
	for _, c := range list {
		if was := c.Labels[runtime.LabelCluster]; cluster != "" && was != "" && was != cluster {
			continue
		}
		f := runtime.Found{
			ID:     runtime.TaskID{AllocID: c.Labels[runtime.LabelAlloc], Task: c.Labels[runtime.LabelTask]},
			Labels: c.Labels,
		}
		if p := procs[c.ID]; p != nil && (p.Status == tasktypes.Status_RUNNING || p.Status == tasktypes.Status_PAUSED || p.Status == tasktypes.Status_PAUSING) {
			f.Running, f.PID = true, int(p.Pid)
		}
		found = append(found, f)
	}
	return found, nil
}

// quote makes a value for containerd's filters.
func quote(s string) string {
	b := []byte{'"'}
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(append(b, '"'))
}
