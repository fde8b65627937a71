package agenttest

import (
	"context"
	"fmt"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// Job is a service of the fake driver whose copies run until they are stopped.
func Job(id string, count int) *state.Job {
	return &state.Job{
		Namespace: "default", ID: id, Name: id, Type: state.JobTypeService, Region: "global", Datacenters: []string{"*"},
		NodePool: "default", Priority: 50,
		TaskGroups: []state.TaskGroup{{
			Name: "g", Count: count,
			RestartPolicy:    state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail},
			ReschedulePolicy: state.ReschedulePolicy{Delay: 30 * time.Second, DelayFunction: state.DelayExponential, MaxDelay: time.Hour, Unlimited: true},
			Update:           state.UpdateStrategy{MaxParallel: 1},
			EphemeralDisk:    state.EphemeralDisk{SizeMB: 300},
			Tasks: []state.Task{{
				Name: "t", Driver: "fake", Resources: state.Resources{CPU: 20, MemoryMB: 32}, KillTimeout: 5 * time.Second,
				RestartPolicy: state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail},
				LogConfig:     state.LogConfig{MaxFiles: 10, MaxFileSizeMB: 10},
			}},
		}},
	}
}

// Run registers a job through an agent.
func (c *Cluster) Run(via *Node, job *state.Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := via.API.RegisterJob(ctx, &api.JobRegisterRequest{Job: job}, api.WriteOptions{})
	return err
}

// Allocs asks an agent for a job's allocations.
func (c *Cluster) Allocs(via *Node, job string) ([]api.AllocListItem, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	allocs, _, err := via.API.JobAllocations(ctx, job, api.QueryOptions{})
	return allocs, err
}

// WaitRunning waits until count copies of the job run, by the cluster's word, and returns them.
func (c *Cluster) WaitRunning(via *Node, job string, count int, limit time.Duration) []api.AllocListItem {
	c.t.Helper()
	var running []api.AllocListItem
	c.Eventually(limit, func() error {
		allocs, err := c.Allocs(via, job)
		if err != nil {
			return err
		}
		running = nil
		for _, a := range allocs {
			if a.DesiredStatus == state.DesiredRun && a.ClientStatus == state.ClientRunning {
				running = append(running, a)
			}
		}
		if len(running) != count {
			return fmt.Errorf("%d of %d copies of %s run", len(running), count, job)
		}
		return nil
	})
	return running
}

// Starts counts, over all machines, how often tasks were started: it does not grow when nothing is restarted.
func (c *Cluster) Starts() int {
	total := 0
	for _, n := range c.Nodes {
		for _, id := range n.Machine.Tasks() {
			total += n.Machine.Starts(id)
		}
	}
	return total
}

// Tasks counts the tasks that run on the machines.
func (c *Cluster) Tasks() int {
	total := 0
	for _, n := range c.Nodes {
		total += len(n.Machine.Running())
	}
	return total
}
