package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/internal/waitfor"
	"github.com/drover-io/drover/jobspecs"
	"github.com/drover-io/drover/state"
)

// What one copy is given, by Drover and by bare containerd.
const (
	copyCPU    = 10 // MHz
	copyMemory = 32 // MiB
)

const (
	runTimeout = 2 * time.Minute
	endTimeout = 2 * time.Minute
	imageRef   = "example.test/hello:1"
)

// buildImage makes the image of hello, and returns its file.
func buildImage(o options) (string, error) {
	img, err := image.Build(o.hello, image.Config{})
	if err != nil {
		return "", err
	}
	path := filepath.Join(o.dir, "hello.tar")
	return path, image.WriteTar(img, path, imageRef)
}

// containerJob is a job of copies of the image in a file.
func containerJob(id string, copies int, tar string) (*state.Job, error) {
	return parseJob(id, copies, fmt.Sprintf(`
    network {
      port "http" {}
    }

    task "hello" {
      driver = "docker"

      config {
        image = "file://%s"
      }

      resources {
        cpu    = %d
        memory = %d
      }

      kill_timeout = "2s"
    }`, tar, copyCPU, copyMemory))
}

// emptyJob is a job of no copies: all that it costs is its place in the log and in the state.
func emptyJob(id string) (*state.Job, error) {
	return parseJob(id, 0, `
    task "none" {
      driver = "exec"

      config {
        command = "/bin/true"
      }
    }`)
}

func parseJob(id string, copies int, rest string) (*state.Job, error) {
	text := fmt.Sprintf("job %q {\n  group \"g\" {\n    count = %d\n%s\n  }\n}\n", id, copies, rest)
	job, diags := jobspecs.Parse(jobspecs.Source{Name: id + ".nomad.hcl", Data: []byte(text)}, jobspecs.Inputs{})
	if diags.HasErrors() {
		return nil, diags
	}
	return job, nil
}

// register submits a job.
func register(ctx context.Context, c *api.Client, job *state.Job) (uint64, error) {
	resp, err := c.RegisterJob(ctx, &api.JobRegisterRequest{Job: job}, api.WriteOptions{})
	if err != nil {
		return 0, err
	}
	return resp.Index, nil
}

// waitRunning blocks until one copy of a job runs by the word of the API, and returns it.
func waitRunning(ctx context.Context, c *api.Client, id string, index uint64) (api.AllocListItem, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	for {
		allocs, meta, err := c.JobAllocations(ctx, id, api.QueryOptions{Index: index})
		if err != nil {
			return api.AllocListItem{}, fmt.Errorf("wait for %s to run: %w", id, err)
		}
		for _, a := range allocs {
			switch a.ClientStatus {
			case state.ClientRunning:
				return a, nil
			case state.ClientFailed, state.ClientLost:
				return a, fmt.Errorf("%s is %s: %s", a.Name, a.ClientStatus, a.ClientDescription)
			}
		}
		index = meta.Index
	}
}

// waitCopies asks until all copies of a job run.
func waitCopies(ctx context.Context, c *api.Client, id string, copies int) error {
	_, err := waitfor.True(ctx, runTimeout, 20*time.Millisecond, func(ctx context.Context) error {
		job, _, err := c.Job(ctx, id, api.QueryOptions{})
		if err != nil {
			return err
		}
		if n := job.JobSummary.Summary["g"].Running; n != copies {
			return fmt.Errorf("%d of %d copies run: %+v", n, copies, job.JobSummary.Summary["g"])
		}
		return nil
	})
	return err
}

// end stops a job and waits until nothing of it runs.
func end(ctx context.Context, c *api.Client, id string) error {
	if _, err := c.StopJob(ctx, id, false, api.WriteOptions{}); err != nil {
		return err
	}
	_, err := waitfor.True(ctx, endTimeout, 10*time.Millisecond, func(ctx context.Context) error {
		job, _, err := c.Job(ctx, id, api.QueryOptions{})
		if err != nil {
			return err
		}
		if s := job.JobSummary.Summary["g"]; s.Running+s.Starting+s.Unknown > 0 {
			return fmt.Errorf("%s has not ended: %+v", id, s)
		}
		return nil
	})
	return err
}
