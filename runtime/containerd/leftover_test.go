package containerd

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

// testLeftOvers: the agent died at each step of Start.
func testLeftOvers(t *testing.T, h *host) {
	d := h.driver(t, "n-left")
	for name, leave := range map[string]func(t *testing.T, ctx context.Context, s *session, img client.Image, id string){
		"snapshot": func(t *testing.T, ctx context.Context, s *session, img client.Image, id string) {
			if _, err := s.SnapshotService(s.snapshotter).Prepare(ctx, id, ""); err != nil {
				t.Fatal(err)
			}
		},
		"container": func(t *testing.T, ctx context.Context, s *session, img client.Image, id string) {
			newContainer(t, ctx, s, img, id)
		},
		"task": func(t *testing.T, ctx context.Context, s *session, img client.Image, id string) {
			if _, err := newContainer(t, ctx, s, img, id).NewTask(ctx, plainFiles("", "")); err != nil {
				t.Fatal(err)
			}
		},
		"ended task": func(t *testing.T, ctx context.Context, s *session, img client.Image, id string) {
			task, err := newContainer(t, ctx, s, img, id).NewTask(ctx, plainFiles("", ""))
			if err == nil {
				err = task.Start(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
			ch, err := task.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			<-ch
		},
	} {
		spec := h.task(t, d, "print", "fresh")
		if _, err := d.EnsureImage(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		s, ctx, err := d.session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		img, err := d.fileImage(ctx, s, strings.TrimPrefix(h.image, "file://"))
		if err != nil {
			t.Fatal(err)
		}
		leave(t, ctx, s, img, containerID(spec.ID))
		st := start(t, d, spec)
		exit := wait(t, d, spec.ID)
		if out := read(t, spec.Stdout); st.Attached || exit.Code != 0 || out != "fresh\n" {
			t.Errorf("after a left-over %s: %+v, %+v, %q", name, st, exit, out)
		}
		h.remove(t, d, spec.ID)
	}
}

func newContainer(t *testing.T, ctx context.Context, s *session, img client.Image, id string) client.Container {
	t.Helper()
	so, err := specOpts(runtime.TaskSpec{}, options{Args: []string{"exit", "0"}}, img, mustConfig(t, ctx, img), place{files: 1024})
	if err != nil {
		t.Fatal(err)
	}
	cc, err := s.NewContainer(ctx, id, client.WithSnapshotter(s.snapshotter), client.WithImage(img), client.WithNewSnapshot(id, img), client.WithNewSpec(so...))
	if err != nil {
		t.Fatal(err)
	}
	return cc
}

func testGroup(t *testing.T, h *host) {
	d := h.driver(t, "n-group")
	a := h.task(t, d, "sleep")
	b := h.task(t, d, "trap")
	b.Group, b.ID = a.Group, runtime.TaskID{AllocID: a.ID.AllocID, Task: "second task/ü"}
	b.Cgroup = filepath.Dir(a.Cgroup) + "/second"
	t.Cleanup(func() { h.remove(t, d, b.ID) })
	pa, pb := start(t, d, a).PID, start(t, d, b).PID
	if x, y := parentOf(t, pa), parentOf(t, pb); x != y {
		t.Errorf("two tasks of an alloc have shims %s and %s", x, y)
	}
	if err := d.Remove(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if err := d.Signal(t.Context(), b.ID, syscall.SIGTERM); err != nil {
		t.Errorf("the second task is gone with the first: %v", err)
	}
	if exit := wait(t, d, b.ID); exit.Code != 7 && exit.Signal != 15 {
		t.Errorf("exit %+v", exit)
	}
	start(t, d, a) // into the shim that the first one's name is on
	if err := d.Remove(t.Context(), b.ID); err != nil {
		t.Error(err)
	}
}

func parentOf(t *testing.T, pid int) string {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc/"+itoa(pid)+"/status")) {
		if rest, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func mustConfig(t *testing.T, ctx context.Context, img client.Image) ocispec.ImageConfig {
	t.Helper()
	ic, err := imageConfig(ctx, img)
	if err != nil {
		t.Fatal(err)
	}
	return ic
}
