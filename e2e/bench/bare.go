package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
)

const (
	bareNamespace = "drover-bench" // Drover does not look there
	bareRuntime   = "io.containerd.runc.v2"
)

// bare starts containers with containerd's own client: the least that anybody pays.
type bare struct {
	client *client.Client
	image  client.Image
	dir    string // logs of the containers
	cgroup string // below which their cgroups are
	last   atomic.Int64

	snapshotter string
}

// openBare connects to the daemon of an agent and makes the image present, in a namespace of its own.
func openBare(ctx context.Context, s *solo, tar string) (*bare, error) {
	socket, err := s.socket()
	if err != nil {
		return nil, err
	}
	node, err := s.nodeID()
	if err != nil {
		return nil, err
	}
	b := &bare{dir: filepath.Join(s.Dir, "bare"), cgroup: "/drover/" + node + "/bare"}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, err
	}
	if b.client, err = client.New(socket); err != nil {
		return nil, err
	}
	if err := b.load(b.in(ctx), tar); err != nil {
		return nil, errors.Join(fmt.Errorf("load the image: %w", err), b.client.Close())
	}
	return b, nil
}

func (b *bare) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, bareNamespace)
}

func (b *bare) load(ctx context.Context, tar string) error {
	f, err := os.Open(tar)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	images, err := b.client.Import(ctx, f)
	if err != nil {
		return err
	}
	if len(images) != 1 {
		return fmt.Errorf("%s holds %d images", tar, len(images))
	}
	b.image = client.NewImage(b.client, images[0])
	for _, b.snapshotter = range []string{"overlayfs", "native"} { // Drover's order too
		if err = b.image.Unpack(ctx, b.snapshotter); err == nil {
			return nil
		}
	}
	return err
}

// started is a container that runs.
type started struct {
	container client.Container
	task      client.Task
}

// start makes and starts one container with what Drover gives to its own: a snapshot, a cgroup with limits, the default seccomp
// profile, the host's network, a log file.
func (b *bare) start(ctx context.Context) (started, error) {
	ctx = b.in(ctx)
	id := fmt.Sprintf("bare-%d", b.last.Add(1))
	c, err := b.client.NewContainer(ctx, id,
		client.WithSnapshotter(b.snapshotter), client.WithImage(b.image), client.WithNewSnapshot(id, b.image),
		client.WithRuntime(bareRuntime, nil),
		client.WithNewSpec(
			oci.WithImageConfig(b.image), oci.WithEnv([]string{"HELLO_ADDR=127.0.0.1:0"}),
			oci.WithHostNamespace(specs.NetworkNamespace), oci.WithCgroup(b.cgroup+"/"+id),
			oci.WithMemoryLimit(copyMemory<<20), oci.WithCPUShares(copyCPU), oci.WithPidsLimit(4096),
			oci.WithNoNewPrivileges, seccomp.WithDefaultProfile(),
		))
	if err != nil {
		return started{}, err
	}
	s := started{container: c}
	if s.task, err = c.NewTask(ctx, cio.LogFile(filepath.Join(b.dir, id+".log"))); err != nil {
		return s, errors.Join(err, b.remove(ctx, s))
	}
	if err := s.task.Start(ctx); err != nil {
		return s, errors.Join(err, b.remove(ctx, s))
	}
	return s, nil
}

// remove takes a container away.
func (b *bare) remove(ctx context.Context, s started) error {
	ctx = b.in(ctx)
	if s.task != nil {
		if _, err := s.task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return s.container.Delete(ctx, client.WithSnapshotCleanup)
}

// startMany starts containers, some at a time.
func (b *bare) startMany(ctx context.Context, n, atOnce int) ([]started, error) {
	out := make([]started, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() (err error) {
			out[i], err = b.start(ctx)
			return err
		})
	}
	return out, g.Wait()
}

// removeMany takes containers away, some at a time.
func (b *bare) removeMany(ctx context.Context, all []started, atOnce int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, s := range all {
		if s.container != nil {
			g.Go(func() error { return b.remove(ctx, s) })
		}
	}
	return g.Wait()
}

func (b *bare) close() error { return b.client.Close() }
