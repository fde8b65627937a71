package agenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/internal/simnet"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/fake"
	"github.com/drover-io/drover/state"
)

// archive is what the fake driver takes for an image, of some size.
func archive(seed string, size int) *bytes.Reader {
	text := strings.Repeat(seed+" some content; ", size/len(seed)+1)
	return bytes.NewReader([]byte(text[:size]))
}

func (c *Cluster) importImage(via *Node, name string, copies int, size int) *state.Image {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := via.API.ImportImage(ctx, api.ImageImportRequest{Name: name, Source: "test.tar", Copies: copies}, archive(name, size), int64(size))
	if err != nil {
		c.t.Fatal("import:", err)
	}
	return res.Images[0]
}

// holders waits until the cluster says that these nodes, and no others, hold an image.
func (c *Cluster) holders(via *Node, ref string, want ...*Node) {
	c.t.Helper()
	var names []string
	for _, n := range want {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	c.Eventually(2*time.Minute, func() error {
		have, err := c.holderNames(via, ref)
		if err == nil && !slices.Equal(have, names) {
			err = fmt.Errorf("holders of %s are %v, want %v", ref, have, names)
		}
		return err
	})
}

func (c *Cluster) holderNames(via *Node, ref string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, _, err := via.API.Image(ctx, ref, api.QueryOptions{})
	if err != nil {
		return nil, err
	}
	var have []string
	for _, h := range v.HolderNodes {
		have = append(have, h.Name)
	}
	slices.Sort(have)
	return have, nil
}

// imageJob is Job with an image.
func imageJob(id string, count int, image string) *state.Job {
	j := Job(id, count)
	j.TaskGroups[0].Tasks[0].Config = map[string]any{"image": image}
	return j
}

func TestImageReachesEveryCopy(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		img := c.importImage(c.Nodes[4], "app:1", 1, 500_000)
		c.holders(c.Nodes[0], "app:1", c.Nodes[4])
		if err := c.Run(c.Nodes[1], apart(imageJob("web", 5, "app:1"))); err != nil {
			t.Fatal(err)
		}
		allocs := c.WaitRunning(c.Nodes[2], "web", 5, time.Minute)
		used := map[string]bool{}
		for _, a := range allocs {
			used[a.NodeName] = true
		}
		if len(used) != 5 {
			t.Fatalf("copies on %v, want one each", used)
		}
		c.holders(c.Nodes[0], "app:1", c.Nodes...)
		for _, n := range c.Nodes {
			if got := n.Machine.Images(); !slices.Equal(got, []string{img.Digest}) {
				t.Errorf("%s has %v", n.Name, got)
			}
		}
	})
}

// apart puts every copy on a machine of its own.
func apart(j *state.Job) *state.Job {
	j.Constraints = append(j.Constraints, state.Constraint{Operand: state.OperandDistinctHosts, RTarget: "true"})
	return j
}

func TestImportMakesCopies(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		img := c.importImage(c.Nodes[0], "app:1", 3, 200_000)
		var first []string
		c.Eventually(time.Minute, func() (err error) {
			if first, err = c.holderNames(c.Nodes[1], "app:1"); err == nil && len(first) != 3 {
				err = fmt.Errorf("held by %v, want 3", first)
			}
			return err
		})
		c.Always(time.Minute, func() error {
			now, err := c.holderNames(c.Nodes[1], "app:1")
			if err == nil && !slices.Equal(now, first) {
				err = fmt.Errorf("held by %v, before by %v", now, first)
			}
			return err
		})
		victim := c.Nodes[slices.IndexFunc(c.Nodes, func(n *Node) bool { return slices.Contains(first, n.Name) && n != c.Leader() })]
		victim.Die()
		c.Eventually(3*time.Minute, func() error { // another takes its place
			l := c.Leader()
			if l == nil {
				return errors.New("no leader")
			}
			now, err := c.holderNames(l, img.Digest)
			if err == nil && len(now) != 4 {
				err = fmt.Errorf("held by %v, want the dead one and three others", now)
			}
			return err
		})
	})
}

func TestHolderKilledWhileItServes(t *testing.T) {
	for _, how := range []string{"killed", "unplugged"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, Options{Servers: 3, Clients: 3}, func(t *testing.T, c *Cluster) {
				source, second := c.Nodes[3], c.Nodes[4]
				c.importImage(source, "app:1", 1, 2_000_000)
				if err := c.Run(c.Nodes[0], on(imageJob("seed", 1, "app:1"), second)); err != nil {
					t.Fatal(err)
				}
				c.holders(c.Nodes[0], "app:1", source, second)
				// It gives some parts and dies in the middle of the next: the machine that fetches goes on with the other.
				var reads atomic.Int64
				died := make(chan struct{})
				source.Machine.Hook(func(op string, _ runtime.TaskID) error {
					if op != fake.OpRead {
						return nil
					}
					n := reads.Add(1)
					if n == 8 {
						close(died)
					}
					if n >= 8 {
						return errors.New("the disk is gone")
					}
					return nil
				})
				slow := func(op string, _ runtime.TaskID) error {
					if op == fake.OpRead {
						time.Sleep(20 * time.Millisecond)
					}
					return nil
				}
				second.Machine.Hook(slow)
				if err := c.Run(c.Nodes[0], apart(imageJob("web", 6, "app:1"))); err != nil {
					t.Fatal(err)
				}
				select {
				case <-died:
				case <-time.After(time.Minute):
				}
				if how == "killed" {
					source.Crash()
				} else {
					source.Die()
				}
				c.Eventually(3*time.Minute, func() error {
					for _, n := range c.Others(source) {
						if len(n.Machine.Images()) == 0 && len(n.Machine.Tasks()) > 0 {
							return fmt.Errorf("%s runs without its image", n.Name)
						}
					}
					allocs, err := c.Allocs(c.Nodes[0], "web")
					if err != nil {
						return err
					}
					running := 0
					for _, a := range allocs {
						if a.ClientStatus == state.ClientFailed {
							t.Fatalf("copy on %s failed: %v", a.NodeName, a.TaskStates)
						}
						if a.NodeName != source.Name && a.DesiredStatus == state.DesiredRun && a.ClientStatus == state.ClientRunning {
							running++
						}
					}
					if running < 5 {
						return fmt.Errorf("%d copies run elsewhere", running)
					}
					return nil
				})
			})
		})
	}
}

// on restricts a job to one node.
func on(j *state.Job, n *Node) *state.Job {
	j.Constraints = []state.Constraint{{LTarget: "${node.unique.name}", Operand: state.OperandEqual, RTarget: n.Name}}
	return j
}

func TestFetchGoesOnWhereItWasCut(t *testing.T) {
	inBubble(t, Options{Servers: 1, Clients: 2}, func(t *testing.T, c *Cluster) {
		source, reader := c.Nodes[1], c.Nodes[2]
		c.importImage(source, "app:1", 1, 1_000_000)
		var served atomic.Int64
		source.Machine.Hook(func(op string, _ runtime.TaskID) error {
			if op == fake.OpRead {
				if served.Add(1) == 10 {
					return errors.New("cut")
				}
			}
			return nil
		})
		if err := c.Run(c.Nodes[0], on(imageJob("web", 1, "app:1"), reader)); err != nil {
			t.Fatal(err)
		}
		c.WaitRunning(c.Nodes[0], "web", 1, 2*time.Minute)
		if reader.Machine.Begun() != 0 {
			t.Errorf("%d bytes of parts left", reader.Machine.Begun())
		}
		if served := served.Load(); served > 60 || served < 10 { // 31 reads of 32 KiB are all of it
			t.Errorf("%d reads: it began anew", served)
		}
	})
}

func TestOnlyHolderComesBack(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		source, reader := c.Nodes[3], c.Nodes[4]
		c.importImage(source, "app:1", 1, 300_000)
		source.Crash()
		if err := c.Run(c.Nodes[0], on(imageJob("web", 1, "app:1"), reader)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		source.Restart()
		c.WaitRunning(c.Nodes[0], "web", 1, 2*time.Minute)
		allocs, err := c.Allocs(c.Nodes[0], "web")
		if err != nil || len(allocs) != 1 || allocs[0].TaskStates["t"].Restarts != 0 {
			t.Errorf("%+v, %v", allocs, err)
		}
	})
}

func TestRemovedImageIsDroppedEverywhere(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		img := c.importImage(c.Nodes[0], "app:1", 4, 100_000)
		c.holders(c.Nodes[1], "app:1", c.Nodes...)
		away := c.Nodes[3]
		away.Crash()
		if err := c.Run(c.Nodes[0], imageJob("web", 1, "app:1")); err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if _, err := c.Nodes[1].API.RemoveImage(ctx, "app:1", false, api.WriteOptions{}); !errors.Is(err, api.ErrConflict) {
			t.Errorf("an image that a job needs: %v", err)
		}
		if _, err := c.Nodes[1].API.StopJob(ctx, "web", true, api.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.Eventually(time.Minute, func() error {
			_, err := c.Nodes[1].API.RemoveImage(ctx, "app:1", false, api.WriteOptions{})
			return err
		})
		c.Eventually(time.Minute, func() error {
			for _, n := range c.Nodes[:3] {
				if got := n.Machine.Images(); len(got) > 0 {
					return fmt.Errorf("%s has %v", n.Name, got)
				}
			}
			return nil
		})
		if got := away.Machine.Images(); !slices.Equal(got, []string{img.Digest}) {
			t.Fatalf("%v", got)
		}
		away.Restart()
		c.Eventually(time.Minute, func() error {
			if got := away.Machine.Images(); len(got) > 0 {
				return fmt.Errorf("%s has %v", away.Name, got)
			}
			return nil
		})
	})
}

func TestLostContentIsNoticedAndReplaced(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		img := c.importImage(c.Nodes[0], "app:1", 2, 100_000)
		c.Eventually(time.Minute, func() error {
			have, err := c.holderNames(c.Nodes[1], "app:1")
			if err == nil && len(have) != 2 {
				err = fmt.Errorf("%v", have)
			}
			return err
		})
		c.Nodes[0].Machine.LoseImage(img.Digest)
		c.Eventually(2*time.Minute, func() error {
			whole := 0
			for _, n := range c.Nodes {
				whole += len(n.Machine.Images())
			}
			if whole != 2 {
				return fmt.Errorf("%d machines have it", whole)
			}
			return nil
		})
	})
}

func TestForgottenImageComesBack(t *testing.T) {
	inBubble(t, Options{Servers: 3}, func(t *testing.T, c *Cluster) {
		time.Sleep(5 * time.Second)
		r, _, err := c.Nodes[0].API.SaveSnapshot(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		var backup bytes.Buffer
		if _, err := backup.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		c.importImage(c.Nodes[0], "app:1", 2, 100_000)
		c.Eventually(time.Minute, func() error {
			have, err := c.holderNames(c.Nodes[1], "app:1")
			if err == nil && len(have) != 2 {
				err = fmt.Errorf("%v", have)
			}
			return err
		})
		if _, err := c.Leader().API.RestoreSnapshot(t.Context(), bytes.NewReader(backup.Bytes()), int64(backup.Len())); err != nil {
			t.Fatal(err)
		}
		c.Eventually(2*time.Minute, func() error {
			have, err := c.holderNames(c.Nodes[1], "app:1")
			if err == nil && len(have) < 2 {
				err = fmt.Errorf("%v", have)
			}
			return err
		})
	})
}

func TestHolderCutOffIsPassedOver(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 2}, func(t *testing.T, c *Cluster) {
		one, other, reader := c.Nodes[3], c.Nodes[0], c.Nodes[4]
		c.importImage(one, "app:1", 1, 400_000)
		if err := c.Run(c.Nodes[0], on(imageJob("seed", 1, "app:1"), other)); err != nil {
			t.Fatal(err)
		}
		c.holders(c.Nodes[0], "app:1", one, other)
		c.Net.Cut(one.Host, reader.Host, simnet.TCP)
		if err := c.Run(c.Nodes[0], on(imageJob("web", 1, "app:1"), reader)); err != nil {
			t.Fatal(err)
		}
		c.WaitRunning(c.Nodes[0], "web", 1, 2*time.Minute)
	})
}

// TestTagsOfRegistries: what a tag means now is the registry's word, asked by the agent that the user asks, unless the name was
// imported; a registry that hangs holds nobody up.
func TestTagsOfRegistries(t *testing.T) {
	inBubble(t, Options{Servers: 1, Clients: 1}, func(t *testing.T, c *Cluster) {
		via := c.Nodes[1]
		first, second := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
		resolve := func() (out []api.ImageAnswer, took time.Duration) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			began := time.Now()
			out, err := via.API.ResolveImages(ctx, []api.ImageQuestion{{Image: "redis:7"}, {Image: "nobody/has:it"}})
			if err != nil {
				t.Fatal(err)
			}
			return out, time.Since(began)
		}
		for _, digest := range []string{first, second} {
			via.Machine.Publish("docker.io/library/redis:7", digest)
			got, _ := resolve()
			if got[0] != (api.ImageAnswer{Image: "redis:7", Digest: digest}) || got[1].Digest != "" || !strings.Contains(got[1].Error, "the registry does not have it") {
				t.Errorf("got %+v, want %s", got, digest)
			}
		}
		via.Machine.Hook(func(op string, _ runtime.TaskID) error {
			if op == fake.OpResolve {
				time.Sleep(8 * time.Second) // in the bubble
			}
			return nil
		})
		if got, took := resolve(); got[0].Digest != "" || got[0].Error == "" || took > 9*time.Second {
			t.Errorf("of a registry that hangs, after %s: %+v", took, got)
		}
		img := c.importImage(c.Nodes[0], "redis:7", 1, 1000)
		if got, took := resolve(); got[0] != (api.ImageAnswer{Image: "redis:7", Digest: img.Digest, Imported: true}) {
			t.Errorf("of an image that was imported, after %s: %+v, want %s", took, got, img.Digest)
		}
	})
}
