package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/state"
)

const (
	worldNodes = 5000
	worldCount = 1000 // copies of each job
	worldTerm  = 1
	maxTries   = 5 // to find IDs that are free
)

// world is a state that is built by the commands of a cluster's log, without a cluster.
type world struct {
	store *state.Store
	index uint64
	now   int64
	nodes []state.NodeRef
}

// do applies one command as the log would.
func (w *world) do(cmd state.Command) (any, error) {
	w.index++
	result := w.store.ApplyCommand(w.index, worldTerm, cmd)
	if err, failed := result.(error); failed {
		return nil, fmt.Errorf("apply a %T: %w", cmd, err)
	}
	return result, nil
}

// saveWorld writes a backup of a cluster whose nodes run so many copies, as `drover operator snapshot save` would.
func saveWorld(file string, copies int) (err error) {
	w := &world{store: state.NewStore(), now: time.Now().UnixNano()}
	for _, cmd := range []state.Command{
		state.InitCluster{ClusterID: "00000000-0000-8000-8000-00000000a911", Time: w.now},
		state.Lead{NodeID: "nobody", Time: w.now},
		state.RaiseLevel{Term: worldTerm, Level: state.MaxLevel, Time: w.now},
	} {
		if _, err := w.do(cmd); err != nil {
			return err
		}
	}
	plan := fleet.Plan{Nodes: worldNodes, Copies: 2 * copies} // copies lie on the nodes in turn, and the smallest node has half the room
	for i := range plan.Nodes {
		n := plan.Node(i)
		got, err := w.do(state.RegisterNode{Node: n, Time: w.now})
		if err != nil {
			return err
		}
		w.nodes = append(w.nodes, state.NodeRef{ID: n.ID, Generation: got.(state.RegisterNodeResult).Generation})
	}
	for i := range copies / worldCount {
		if err := w.place(i); err != nil {
			return err
		}
	}
	if n := w.store.Snapshot().AllocCount(); n != copies {
		return fmt.Errorf("%d of %d copies were placed", n, copies)
	}
	return w.save(file)
}

// place registers a job, places its copies on the nodes in turn, and has every node say that they run.
func (w *world) place(i int) error {
	j := fleet.Job("world", "plain", i, worldCount)
	got, err := w.do(state.RegisterJob{RequestID: fmt.Sprintf("world-%d", i), Job: j, Time: w.now})
	if err != nil {
		return err
	}
	rec := state.PlanRecord{Namespace: j.Namespace, JobID: j.ID, JobModifyIndex: got.(state.RegisterJobResult).JobModifyIndex, TaskGroup: j.TaskGroups[0].Name}
	cmd := state.ApplyPlan{Term: worldTerm, Time: w.now}
	cmd.Seed[0], cmd.Seed[1], cmd.Seed[2] = byte(i), byte(i>>8), byte(i>>16)
	for k := range worldCount {
		rec.Index, rec.Node = append(rec.Index, k), append(rec.Node, k)
		cmd.Nodes = append(cmd.Nodes, w.nodes[(i*worldCount+k)%len(w.nodes)])
	}
	cmd.Records = []state.PlanRecord{rec}
	for placed := 0; placed == 0; cmd.Seed[3]++ { // now and then an ID is taken, and a leader plans anew
		got, err := w.do(cmd)
		if err != nil {
			return err
		}
		placed = got.(state.PlanResult).Placed
		if placed == 0 && cmd.Seed[3] == maxTries {
			return fmt.Errorf("job %s is not placed: %+v", j.ID, got)
		}
	}
	report := state.Report{Time: w.now}
	for a := range w.store.Snapshot().AllocsByJob(j.Namespace, j.ID) {
		report.Nodes = append(report.Nodes, state.NodeReport{NodeID: a.NodeID, Boot: 1, Seq: uint64(i + 1), Allocs: []state.AllocReport{{
			ID: a.ID, Status: state.ClientRunning, Tasks: map[string]state.TaskState{j.TaskGroups[0].Tasks[0].Name: {State: state.TaskRunning, StartedAt: w.now}},
		}}})
	}
	_, err = w.do(report)
	return err
}

func (w *world) save(file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	if err = w.store.Snapshot().Backup(out); err == nil {
		err = out.Flush()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	return nil
}
