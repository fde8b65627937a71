package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

const (
	// importShownEvery is how often the progress of an import is shown.
	importShownEvery = 200 * time.Millisecond
	// copiesLook is how often it is asked how many machines have the image.
	copiesLook = 300 * time.Millisecond
)

// importOptions are the flags of `image import`.
type importOptions struct {
	name    string
	node    string
	copies  int
	detach  bool
	timeout time.Duration
}

func newImageImport(a *app) *cobra.Command {
	var o importOptions
	var s shape
	cmd := &cobra.Command{
		Use:   "import <file>",
		Short: "Import an image from a file, so that every machine can run it without a registry",
		Long: `Import the images of an archive: what docker save and podman save write, or an OCI layout in a tar file, compressed or not; - reads
the standard input. The archive goes to one machine; when the command returns, as many as --copies have the image, and every other
machine fetches it from them when it starts a task that needs it.

The names are those that the archive has, unless --name gives another. A name that meant another image means this one from then on;
jobs that were submitted before keep the one that they have.`,
		Example: `  docker save app:1 | drover image import -
  drover image import app.tar --name team/app:1
  drover image import app.tar --node m2 --copies 5`,
		SuggestFor: []string{"load", "push", "add"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.copies < 1 || o.copies > state.MaxImageCopies {
				return fmt.Errorf("--copies is %d: want 1 to %d", o.copies, state.MaxImageCopies)
			}
			return importImage(cmd.Context(), a, o, s, args[0])
		},
	}
	s.addProgramFlags(cmd)
	fs := cmd.Flags()
	fs.StringVar(&o.name, "name", "", "`name` of the image, such as app:1, instead of those in the archive")
	fs.StringVar(&o.node, "node", "", "`node` to take it in; without it the agent asked, or one that runs containers")
	fs.IntVar(&o.copies, "copies", api.DefaultImageCopies, "`machines` that should have the image, whether they run it or not")
	fs.BoolVar(&o.detach, "detach", false, "return as soon as one machine has it")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait for the other copies")
	_ = cmd.RegisterFlagCompletionFunc("node", a.completeNodes)
	return cmd
}

func importImage(ctx context.Context, a *app, o importOptions, s shape, path string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	req := api.ImageImportRequest{Name: o.name, Copies: o.copies}
	if o.node != "" {
		n, err := c.FindNode(ctx, o.node, api.QueryOptions{})
		if err != nil {
			return err
		}
		req.NodeID = n.ID
	}
	in, size := a.in, int64(-1)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file; to read a pipe give - and redirect it", path)
		}
		in, size, req.Source = f, info.Size(), filepath.Base(path)
		if size == 0 {
			return fmt.Errorf("%s is empty", path)
		}
	}
	p := &importProgress{app: a, in: in, size: size, began: time.Now(), quiet: s.given()}
	res, err := c.ImportImage(ctx, req, p, size)
	p.end()
	if err != nil {
		return err
	}
	if !s.given() {
		for _, img := range res.Images {
			fmt.Fprintf(a.out, "Imported %s as %s, %s, on %s.\n", names(img), state.ShortDigest(img.Digest), bytesOf(img.Size), res.NodeName)
		}
	}
	if !o.detach {
		if err := waitCopies(ctx, a, c, o, res, s.given()); err != nil {
			return err
		}
	}
	if s.given() {
		return s.print(a.out, res, nil)
	}
	return nil
}

func names(img *state.Image) string {
	text := ""
	for i, n := range img.Names {
		if i > 0 {
			text += ", "
		}
		text += state.FamiliarImage(n)
	}
	return text
}

// waitCopies waits until enough machines have what was imported. That they do not in time is no failure of the import.
func waitCopies(ctx context.Context, a *app, c *api.Client, o importOptions, res *api.ImageImportResponse, quiet bool) error {
	deadline := time.Now().Add(o.timeout)
	for _, img := range res.Images {
		for {
			live, want, err := copiesOf(ctx, c, img.Digest)
			if err != nil && !errors.Is(err, api.ErrNoLeader) && !errors.Is(err, api.ErrUnreachable) {
				return err
			}
			if err == nil && live >= want {
				if !quiet {
					fmt.Fprintf(a.out, "%s is on %s.\n", names(img), plural(live, "machine"))
				}
				break
			}
			if time.Now().After(deadline) {
				fmt.Fprintf(a.err, "Warning: after %s %d of %d machines have %s; the others still fetch it. Look with: drover image info %s\n",
					o.timeout, live, want, names(img), state.FamiliarImage(img.Names[0]))
				return nil
			}
			timer := time.NewTimer(copiesLook)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
	}
	return nil
}

// copiesOf is how many machines that are up have an image, and how many should: no more than can.
func copiesOf(ctx context.Context, c *api.Client, digest string) (live, want int, err error) {
	v, _, err := c.Image(ctx, digest, api.QueryOptions{})
	if err != nil {
		return 0, 0, err
	}
	nodes, _, err := api.All(ctx, c.Nodes, api.QueryOptions{})
	if err != nil {
		return 0, 0, err
	}
	for _, h := range v.HolderNodes {
		if h.Status == state.NodeStatusReady {
			live++
		}
	}
	able := live
	for _, n := range nodes {
		held := false
		for _, h := range v.HolderNodes {
			held = held || h.NodeID == n.ID
		}
		if !held && n.Status == state.NodeStatusReady && n.SchedulingEligibility == state.NodeEligible &&
			api.KeepsImages(&state.Node{Drivers: n.Drivers}) {
			able++
		}
	}
	return live, min(v.Copies, able), nil
}

// importProgress counts what is sent of an archive and shows it.
type importProgress struct {
	app   *app
	in    io.Reader
	size  int64 // -1 when it is not known
	began time.Time
	quiet bool

	mu    sync.Mutex // the sender reads in a goroutine of its own
	sent  int64
	shown time.Time
	ended bool
}

// Read passes on, and shows how far it is.
func (p *importProgress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent += int64(n)
	if p.quiet || p.ended || !p.app.terminal() {
		return n, err
	}
	if done := err != nil || p.sent == p.size; done || time.Since(p.shown) >= importShownEvery {
		p.shown = time.Now()
		fmt.Fprintf(p.app.out, "\r\033[K  %s", p.words(done))
	}
	return n, err
}

func (p *importProgress) words(done bool) string {
	text := bytesOf(p.sent)
	if p.size > 0 {
		text = fmt.Sprintf("%s of %s, %d %%", text, bytesOf(p.size), 100*p.sent/p.size)
	}
	if took := time.Since(p.began).Seconds(); took > 0.5 {
		text += fmt.Sprintf(", %s/s", bytesOf(int64(float64(p.sent)/took)))
	}
	if done {
		text += "; unpacking"
	}
	return text
}

// end removes the line of a terminal.
func (p *importProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if !p.shown.IsZero() {
		fmt.Fprint(p.app.out, "\r\033[K")
	}
}
