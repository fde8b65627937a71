package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/jobspecs"
	"github.com/drover-io/drover/state"
)

// jobID is the job whose copies a drill watches.
const jobID = "drill"

// callTimeout bounds one question to an agent, which may be dead, cut off or frozen.
const callTimeout = 2 * time.Second

// rig is a herd under drill.
type rig struct {
	drill drill
	herd  *herd.Herd
	hello string
	dir   string
	tally tally

	copies int    // of the job that is watched
	writes writes // of the drills that write
}

// progress says how the drill goes.
func (r *rig) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%-22s %s\n", r.drill.name, fmt.Sprintf(format, args...))
}

// close ends the herd and removes its disks, unless they are kept for somebody to look at.
func (r *rig) close(keep bool) error {
	if err := r.herd.Destroy(); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	if keep {
		r.progress("the disks of the herd are in %s", r.dir)
		return nil
	}
	return os.RemoveAll(r.dir)
}

// work describes the job whose copies are watched.
type work struct {
	copies int
	node   string // where all copies must be; "" for anywhere
	tick   string // how often a copy prints a numbered line
}

// start runs the job and waits for its copies.
func (r *rig) start(ctx context.Context, w work) error {
	text, err := r.jobFile(jobID, w)
	if err != nil {
		return err
	}
	r.copies = w.copies
	took := time.Now()
	if err := r.register(ctx, text); err != nil {
		return err
	}
	if _, err := waitfor.True(ctx, 2*time.Minute, 100*time.Millisecond, r.whole(r.herd.Nodes...)); err != nil {
		return fmt.Errorf("start %d copies: %w", w.copies, err)
	}
	r.progress("%d copies run after %.1f s", w.copies, time.Since(took).Seconds())
	return nil
}

func (r *rig) register(ctx context.Context, text string) error {
	job, diags := jobspecs.Parse(jobspecs.Source{Name: "drill", Data: []byte(text)}, jobspecs.Inputs{})
	if diags.HasErrors() {
		return diags
	}
	_, err := r.herd.Nodes[0].API.RegisterJob(ctx, &api.JobRegisterRequest{Job: job}, api.WriteOptions{})
	return err
}

// jobFile is a job of copies of hello.
func (r *rig) jobFile(id string, w work) (string, error) {
	driver, config := "exec", fmt.Sprintf("command = %q", r.hello)
	if r.drill.driver == herd.DriverContainerd {
		tar := filepath.Join(r.dir, "hello.tar")
		if _, err := os.Stat(tar); errors.Is(err, os.ErrNotExist) {
			img, err := image.Build(r.hello, image.Config{})
			if err != nil {
				return "", err
			}
			if err := image.WriteTar(img, tar, "example.test/hello:1"); err != nil {
				return "", err
			}
		}
		driver, config = "docker", fmt.Sprintf("image = %q", "file://"+tar)
	}
	constraint := ""
	if w.node != "" {
		constraint = fmt.Sprintf("constraint {\n      attribute = \"${node.unique.name}\"\n      value     = %q\n    }\n", w.node)
	}
	tick := ""
	if w.tick != "" {
		tick = fmt.Sprintf("HELLO_TICK = %q\n", w.tick)
	}
	return fmt.Sprintf(`job %q {
  group "g" {
    count = %d
    %s
    network {
      port "http" {}
    }
    task "hello" {
      driver = %q
      config {
        %s
      }
      env {
        HELLO_NODE = "${node.unique.name}"
        %s
      }
      resources {
        cpu    = 10
        memory = 32
      }
      kill_timeout = "2s"
    }
  }
}
`, id, w.copies, constraint, driver, config, tick), nil
}

// allocations of a job, asked of one node.
func allocations(ctx context.Context, n *herd.Node, id string) ([]api.AllocListItem, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	allocs, _, err := n.API.JobAllocations(ctx, id, api.QueryOptions{})
	return allocs, err
}

// live are the allocations that the cluster wants and says are running.
func live(allocs []api.AllocListItem) []api.AllocListItem {
	var out []api.AllocListItem
	for _, x := range allocs {
		if x.DesiredStatus == state.DesiredRun && x.ClientStatus == state.ClientRunning {
			out = append(out, x)
		}
	}
	return out
}

// whole is a condition: the job has its copies, by the word of the cluster and on the machines, each once, and nothing else runs
// there. The first of the nodes that answers is asked.
func (r *rig) whole(nodes ...*herd.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		p, err := r.look(ctx, nodes...)
		if err != nil {
			return err
		}
		switch {
		case len(p.live) != r.copies:
			return fmt.Errorf("%d of %d copies run", len(p.live), r.copies)
		case p.doubled > 0:
			return fmt.Errorf("%d copies run twice", p.doubled)
		case p.orphans > 0:
			return fmt.Errorf("%d processes belong to no running copy", p.orphans)
		case p.missing > 0:
			return fmt.Errorf("%d copies have no process", p.missing)
		}
		return nil
	}
}
