package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/image"
	"github.com/drover-io/drover/state"
)

// bigImage is the image of hello with so many bytes that nothing can compress, as docker save writes it.
func bigImage(t *testing.T, size int, ref string, seed byte) string {
	t.Helper()
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(noise) // never fails
	img, err := image.Build(env.hello, image.Config{Files: map[string]string{"/var/noise": string(noise)}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "big.tar")
	if err := image.WriteTar(img, path, ref); err != nil {
		t.Fatal(err)
	}
	return path
}

// imageJob is a job of copies of hello from an image, each on a machine of its own.
func imageJob(t *testing.T, id string, copies int, image string) string {
	t.Helper()
	return jobFile(t, fmt.Sprintf(`job %q {
  group "g" {
    count = %d
    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }
    network {
      port "http" {}
    }
    task "t" {
      driver = "docker"
      config {
        image = %q
      }
      env {
        HELLO_NODE = "${node.unique.name}"
      }
      resources {
        cpu    = 20
        memory = 48
      }
    }
  }
}
`, id, copies, image))
}

// fetching are the bytes that a machine has of parts that are not whole.
func fetching(n *herd.Node) (sum int64) {
	parts, err := filepath.Glob(filepath.Join(n.Dir, "data/containerd/root/io.containerd.content.v1.content/ingest/*/data"))
	if err != nil {
		return 0
	}
	for _, p := range parts {
		if info, err := os.Stat(p); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// holdersOf are the names of the machines that have an image, by the cluster's word.
func holdersOf(ctx context.Context, n *herd.Node, ref string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	v, _, err := n.API.Image(ctx, ref, api.QueryOptions{})
	out := map[string]bool{}
	if err != nil {
		return out, err
	}
	for _, h := range v.HolderNodes {
		out[h.Name] = true
	}
	return out, nil
}

// midTransfer waits until a machine without the image has some of it and not all.
func midTransfer(t *testing.T, h *herd.Herd, holders map[string]bool) {
	t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; {
		for _, n := range h.Nodes {
			if !holders[n.Name] && fetching(n) > 1<<20 {
				t.Logf("%s has %d bytes", n.Name, fetching(n))
				return
			}
		}
		wait(t, time.Millisecond)
	}
	t.Fatal("nobody fetches the image")
}

// TestImagesWithoutARegistry imports images on one of five machines and runs them on all, while machines that serve them are killed.
func TestImagesWithoutARegistry(t *testing.T) {
	h := form(t, herd.Options{Servers: 3, Clients: 2, Driver: herd.DriverContainerd})
	ask, source := h.Nodes[0], h.Nodes[3]

	t.Run("five copies run from an import on one machine", func(t *testing.T) {
		tar := bigImage(t, 20<<20, "small:1", 1)
		out := command(t, ask, 0, "image", "import", "--node", source.Name, tar)
		says(t, out, "Imported small:1", "on "+source.Name, "is on 3 machines")
		out = command(t, ask, 0, "job", "run", imageJob(t, "small", 5, "small:1"))
		says(t, out, "Image small:1 is sha256:", "imported", "All 5 copies run")
		eventually(t, 10*time.Second, "every copy answers", answers("small", 5, ask, nil))
		eventually(t, 10*time.Second, "all machines have it", func(ctx context.Context) error {
			have, err := holdersOf(ctx, ask, "small:1")
			if err == nil && len(have) != 5 {
				err = fmt.Errorf("only %v have it", have)
			}
			return err
		})
		command(t, ask, 0, "job", "stop", "--purge", "small")
		command(t, ask, 0, "image", "remove", "small:1")
	})

	t.Run("a machine killed while it serves does not fail the others", func(t *testing.T) {
		tar := bigImage(t, 120<<20, "big:1", 2)
		command(t, ask, 0, "image", "import", "--node", source.Name, "--copies", "2", tar)
		holders, err := holdersOf(t.Context(), ask, "big:1")
		if err != nil || len(holders) != 2 || !holders[source.Name] {
			t.Fatalf("holders %v, %v", holders, err)
		}
		explained(t, ask, "big")
		command(t, ask, 0, "job", "run", "--detach", imageJob(t, "big", 5, "big:1"))
		midTransfer(t, h, holders)
		if err := source.KillAgent(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, 90*time.Second, "the other four run", othersRun(ask, "big", 4, source))
		if err := source.StartAgent(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 60*time.Second, "all five answer", answers("big", 5, ask, nil))
		unharmed(t, ask, "big", source)
		command(t, ask, 0, "job", "stop", "--purge", "big")
		command(t, ask, 0, "image", "remove", "big:1")
	})

	t.Run("the only machine that has it dies and comes back", func(t *testing.T) {
		tar := bigImage(t, 120<<20, "only:1", 3)
		command(t, ask, 0, "image", "import", "--node", source.Name, "--copies", "1", tar)
		command(t, ask, 0, "job", "run", "--detach", imageJob(t, "only", 5, "only:1"))
		midTransfer(t, h, map[string]bool{source.Name: true})
		if err := source.KillAgent(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(t, 3*time.Second)
		had := map[string]int64{}
		for _, n := range h.Nodes {
			had[n.Name] = fetching(n)
		}
		t.Log("fetched so far:", had)
		if err := source.StartAgent(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 90*time.Second, "all five answer", answers("only", 5, ask, nil))
		unharmed(t, ask, "only", source)
		command(t, ask, 0, "job", "stop", "--purge", "only")
	})

	t.Run("a machine that dies for good", func(t *testing.T) {
		command(t, ask, 0, "image", "import", "--node", h.Nodes[4].Name, "--name", "last:1", bigImage(t, 120<<20, "x:1", 4))
		command(t, ask, 0, "job", "run", "--detach", imageJob(t, "last", 4, "last:1"))
		if err := source.Die(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 90*time.Second, "four copies elsewhere", answers("last", 4, ask, source))
		command(t, ask, 0, "job", "stop", "--purge", "last")
		for _, ref := range []string{"last:1", "only:1"} {
			command(t, ask, 0, "image", "remove", ref)
		}
		says(t, command(t, ask, 0, "image", "list"), "No images were imported")
		eventually(t, 60*time.Second, "the machines drop them", func(context.Context) error {
			for _, n := range h.Nodes {
				if n != source && largestBlob(n) > 64<<20 {
					return fmt.Errorf("%s still has a part of %d bytes", n.Name, largestBlob(n))
				}
			}
			return nil
		})
	})
}

// othersRun is a condition: so many copies run on other machines than one.
func othersRun(ask *herd.Node, job string, want int, not *herd.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		live, err := running(ctx, ask, job)
		if err != nil {
			return err
		}
		n := 0
		for _, x := range live {
			if x.NodeName != not.Name {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("%d of %d run", n, want)
		}
		return nil
	}
}

// unharmed fails when a copy on another machine than the killed one failed or was started twice.
func unharmed(t *testing.T, ask *herd.Node, job string, killed *herd.Node) {
	t.Helper()
	allocs, err := allocations(t.Context(), ask, job)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range allocs {
		if x.NodeName != killed.Name && (x.ClientStatus == state.ClientFailed || x.TaskStates["t"].Restarts > 0) {
			t.Errorf("copy %s on %s is %s:\n%s", x.ID, x.NodeName, x.ClientStatus, events(x))
		}
	}
}

// largestBlob is the size of the largest part of any image on a machine.
func largestBlob(n *herd.Node) (largest int64) {
	blobs, err := filepath.Glob(filepath.Join(n.Dir, "data/containerd/root/io.containerd.content.v1.content/blobs/sha256/*"))
	if err != nil {
		return 0
	}
	for _, b := range blobs {
		if info, err := os.Stat(b); err == nil {
			largest = max(largest, info.Size())
		}
	}
	return largest
}

// TestImportIsRefused: what is no image leaves nothing on any machine.
func TestImportIsRefused(t *testing.T) {
	h := form(t, herd.Options{Servers: 1, Clients: 1, Driver: herd.DriverContainerd})
	ask := h.Nodes[1]
	whole, err := os.ReadFile(bigImage(t, 8<<20, "app:1", 5))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for what, data := range map[string][]byte{
		"cut": whole[:len(whole)/2], "flipped": append(append([]byte(nil), whole[:len(whole)/3]...), flip(whole[len(whole)/3:])...),
		"nonsense": []byte(strings.Repeat("no image ", 10_000)),
	} {
		path := filepath.Join(dir, what+".tar")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, target := range h.Nodes {
			says(t, command(t, ask, 1, "image", "import", "--node", target.Name, path), "not a usable image")
		}
	}
	for _, n := range h.Nodes {
		if got := errors.Join(noBytes("parts", fetching(n)), noBytes("content", largestBlob(n))); got != nil {
			t.Errorf("%s: %v", n.Name, got)
		}
	}
	says(t, command(t, ask, 0, "image", "list"), "No images")
}

func noBytes(what string, n int64) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d bytes of %s are left", n, what)
}

func flip(data []byte) []byte {
	out := append([]byte(nil), data...)
	out[0] ^= 8
	return out
}
