package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

const (
	// imageLevel is the cluster's level from which on it can store images.
	imageLevel = 2
	// imageRest is how long an image that could not be fetched, or announced, is left alone.
	imageRest = time.Minute
	// imageFetches is how many images a node fetches at a time beside those that its tasks wait for.
	imageFetches = 2
	// resolveTimeout bounds the question what tags mean: a registry that is away must not hold up a job.
	resolveTimeout = 5 * time.Second
)

var (
	_ api.Images          = (*images)(nil)
	_ runtime.ImageSource = (*images)(nil)
)

// images is a node's share in the cluster's images: it takes in archives, tells the servers what is here, does what they say about
// it, and gives the drivers a way to the other machines.
type images struct {
	a     *Agent
	log   hclog.Logger
	store runtime.ImageStore
	kick  chan struct{} // capacity 1: what is here has changed

	mu    sync.Mutex
	busy  map[string]time.Time // digest → until when the servers need not order it again; zero while it is being fetched
	index uint64               // newest state that was acted upon

	imports int // under way
}

// openImages finds the driver that keeps images; nil when none does.
func openImages(a *Agent) *images {
	for _, d := range a.drivers {
		if store, ok := d.(runtime.ImageStore); ok {
			k := &images{a: a, log: a.log.Named("images"), store: store, kick: make(chan struct{}, 1), busy: map[string]time.Time{}}
			store.UseImages(k)
			return k
		}
	}
	return nil
}

// run keeps what is here, and what the servers believe is here, the same until ctx ends.
func (k *images) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var fetches errgroup.Group
		fetches.SetLimit(imageFetches)
		defer func() { _ = fetches.Wait() }() // they end with ctx, and say themselves what is wrong
		wait := retryMin
		for ctx.Err() == nil {
			err := k.round(ctx, &fetches)
			if err == nil {
				wait = retryMin
				continue
			}
			k.log.Debug("no orders about images", "error", err, "retry_in", wait)
			if pause(ctx, wait) != nil {
				break
			}
			wait = min(2*wait, 10*retryMax)
		}
		return ctx.Err()
	})
	return g.Wait()
}

// round asks once what is to do, and does it.
func (k *images) round(ctx context.Context, fetches *errgroup.Group) error {
	held, err := k.store.HeldImages(ctx)
	if err != nil {
		return err
	}
	resp, err := k.poll(ctx, held)
	if err != nil || resp == nil {
		return err
	}
	k.log.Debug("orders about images", "held", len(held), "report", resp.Report, "announce", len(resp.Announce), "drop", len(resp.Drop), "fetch", len(resp.Fetch))
	for _, dgst := range resp.Drop {
		k.log.Info("image was removed from the cluster", "digest", dgst)
		if err := k.store.DropImage(ctx, dgst); err != nil {
			return err
		}
	}
	if err := k.announce(ctx, held, resp.Announce); err != nil {
		return err
	}
	for _, order := range resp.Fetch {
		k.begin(order.Image.Digest)
		started := fetches.TryGo(func() error { k.fetch(ctx, order); return nil })
		if !started {
			k.end(order.Image.Digest, retryMax)
		}
	}
	if resp.Report && len(resp.Drop) == 0 {
		return k.report(ctx)
	}
	return nil
}

// poll names what is here and waits for orders. It returns nil when something has changed here meanwhile.
func (k *images) poll(ctx context.Context, held []state.Image) (*api.ImagePollResponse, error) {
	req := &api.ImagePollRequest{NodeID: k.a.id.NodeID, ClusterID: k.a.clusterID(), Wait: api.MaxPollWait}
	for i := range held {
		req.Held = append(req.Held, held[i].Digest)
	}
	k.mu.Lock()
	req.Index = k.index
	for dgst, until := range k.busy {
		if !until.IsZero() && time.Now().After(until) {
			delete(k.busy, dgst)
			continue
		}
		req.Busy = append(req.Busy, dgst)
	}
	if len(req.Busy) > 0 {
		req.Wait = retryMax // it is asked again soon whether they are still wanted
	}
	k.mu.Unlock()
	if req.ClusterID == "" {
		return nil, errors.New("this node has joined no cluster yet")
	}
	asked, cancel := context.WithTimeout(ctx, req.Wait+10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-k.kick:
			cancel()
		case <-asked.Done():
		}
	})
	var resp *api.ImagePollResponse
	err := k.a.peers.eachWithin(asked, req.Wait+minLeasePeriod, func(ctx context.Context, peer *api.Client) error {
		var err error
		resp, err = peer.ImageOrders(ctx, req, true)
		return err
	})
	switch {
	case err != nil && asked.Err() != nil && ctx.Err() == nil:
		return nil, nil
	case errors.Is(err, api.ErrBehind):
		k.saw(0) // the servers may have begun anew from a backup
		return nil, err
	case err != nil:
		return nil, err
	case resp.ClusterID != req.ClusterID:
		return nil, fmt.Errorf("a server of cluster %s answered; this machine belongs to %s", resp.ClusterID, req.ClusterID)
	}
	k.saw(resp.Index)
	return resp, nil
}

// saw remembers the newest state seen; 0 forgets it.
func (k *images) saw(index uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if index == 0 || index > k.index {
		k.index = index
	}
}

// begin and end note what is being done with an image.
func (k *images) begin(dgst string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy[dgst] = time.Time{}
}

func (k *images) end(dgst string, rest time.Duration) {
	k.mu.Lock()
	k.busy[dgst] = time.Now().Add(rest)
	if rest == 0 {
		delete(k.busy, dgst)
	}
	k.mu.Unlock()
	k.wake()
}

// importing counts the imports that are under way.
func (k *images) importing(n int) {
	k.mu.Lock()
	k.imports += n
	k.mu.Unlock()
	k.wake()
}

func (k *images) wake() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// fetch fetches an image of which the cluster has too few copies.
func (k *images) fetch(ctx context.Context, order api.ImageOrder) {
	k.log.Debug("fetching an image of which the cluster has too few copies", "digest", order.Image.Digest)
	err := k.store.FetchImage(ctx, clusterImage(order.Image, order.Holders))
	rest := time.Duration(0)
	if err != nil && ctx.Err() == nil {
		if !k.has(ctx, order.Image.Digest) { // one that is made for other machines is kept for them
			k.log.Warn("cannot fetch an image of which the cluster has too few copies", "digest", order.Image.Digest, "error", err)
			rest = imageRest
		}
	}
	k.end(order.Image.Digest, rest)
}

func (k *images) has(ctx context.Context, dgst string) bool {
	held, err := k.store.HeldImages(ctx)
	return err == nil && slices.ContainsFunc(held, func(img state.Image) bool { return img.Digest == dgst })
}

// CanImport reports whether this node's driver is well.
func (k *images) CanImport() bool {
	node := k.a.client.current()
	return node != nil && api.KeepsImages(node)
}

// Import reads an archive, keeps the images in it and tells the cluster.
func (k *images) Import(ctx context.Context, req *api.ImageImportRequest, archive io.Reader) (*api.ImageImportResponse, error) {
	if err := k.ready(ctx); err != nil {
		return nil, err
	}
	k.importing(1) // what is here and not known to the cluster yet is no image that it has forgotten
	defer k.importing(-1)
	found, err := k.store.ImportImage(ctx, archive, req.Name)
	switch {
	case errors.Is(err, runtime.ErrBadImage):
		return nil, api.NewError(api.CodeInvalid, "", "%s", err)
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, api.NewError(api.CodeUnavailable, "look at the disk and the containerd of that node, or name another with --node", "on node %s: %s", k.a.cfg.Name, err)
	}
	out := &api.ImageImportResponse{NodeID: k.a.id.NodeID, NodeName: k.a.cfg.Name}
	for i := range found {
		img := &found[i]
		img.Source, img.Copies = req.Source, req.Copies
		if out.Index, err = k.tell(ctx, img, false, api.NewRequestID()); err != nil {
			return nil, fmt.Errorf("image %s is on node %s, but the cluster could not be told yet: %w", img.Names[0], k.a.cfg.Name, err)
		}
		k.saw(out.Index)
		if err := k.store.NoteImage(ctx, *img); err != nil {
			k.log.Warn("cannot note what an image is; should the cluster forget it, it comes back without its source", "digest", img.Digest, "error", err)
		}
		k.log.Info("image imported", "names", img.Names, "digest", img.Digest, "bytes", img.Size, "source", img.Source)
		img.Holders = []string{k.a.id.NodeID}
		out.Images = append(out.Images, img)
	}
	return out, nil
}

// ready waits a moment until the cluster can store images: its level is raised soon after it began.
func (k *images) ready(ctx context.Context) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		level := k.a.client.clusterLevel()
		if level >= imageLevel {
			return nil
		}
		if time.Now().After(deadline) {
			return api.NewError(api.CodeUnavailable, "upgrade every server, then try again",
				"the cluster is at level %d and stores images from level %d on", level, imageLevel)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// OpenBlob opens a part of an image that this machine holds.
func (k *images) OpenBlob(ctx context.Context, digest string) (api.ImageBlob, error) {
	blob, err := k.store.OpenBlob(ctx, digest)
	if errors.Is(err, runtime.ErrNoContent) {
		k.wake() // the cluster may believe that it is here
		return nil, api.NewError(api.CodeNotFound, "", "on node %s: %s", k.a.cfg.Name, err)
	}
	if err != nil {
		return nil, api.NewError(api.CodeUnavailable, "", "on node %s: %s", k.a.cfg.Name, err)
	}
	return blob, nil
}

// FindImage asks the cluster's leader what an image is: a server that is behind might not know yet what was imported a moment ago.
func (k *images) FindImage(ctx context.Context, ref string) (*runtime.ClusterImage, error) {
	var view *api.ImageView
	err := k.a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		var err error
		view, _, err = peer.Image(ctx, ref, api.QueryOptions{})
		return err
	})
	switch {
	case errors.Is(err, api.ErrNotFound), errors.Is(err, api.ErrInvalid):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return clusterImage(view.Image, view.HolderNodes), nil
}

func clusterImage(img *state.Image, holders []api.ImageHolder) *runtime.ClusterImage {
	out := &runtime.ClusterImage{Image: *img}
	for _, h := range holders {
		if h.PeerAddr != "" {
			out.From = append(out.From, runtime.ImageHolder{NodeID: h.NodeID, Name: h.Name, Addr: h.PeerAddr, Up: h.Status == state.NodeStatusReady})
		}
	}
	return out
}

// ReadBlob opens a part of an image on another machine.
func (k *images) ReadBlob(ctx context.Context, from runtime.ImageHolder, digest string, offset int64) (io.ReadCloser, error) {
	body, err := k.a.peers.to(from.Addr).ReadImageBlob(ctx, digest, offset)
	switch {
	case errors.Is(err, api.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", runtime.ErrNoContent, err)
	case errors.Is(err, api.ErrBusy):
		return nil, fmt.Errorf("%w: %w", runtime.ErrHolderBusy, err)
	}
	return body, err
}

// Stored has the servers told that an image is whole here.
func (k *images) Stored(string) { k.wake() }

// resolveImages says what tags mean now: by the cluster's word for imported images, by their registries' for the others.
func (a *Agent) resolveImages(ctx context.Context, questions []api.ImageQuestion) []api.ImageAnswer {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answers := make([]api.ImageAnswer, len(questions))
	var g errgroup.Group
	g.SetLimit(8)
	for i, q := range questions {
		g.Go(func() error {
			answers[i] = a.resolveImage(ctx, q)
			return nil
		})
	}
	_ = g.Wait() // each answer has its own error
	return answers
}

func (a *Agent) resolveImage(ctx context.Context, q api.ImageQuestion) api.ImageAnswer {
	out := api.ImageAnswer{Image: q.Image}
	var view *api.ImageView
	err := a.peers.each(ctx, func(ctx context.Context, peer *api.Client) error {
		var err error
		view, _, err = peer.Image(ctx, q.Image, api.QueryOptions{})
		return err
	})
	switch {
	case err == nil:
		out.Digest, out.Imported = view.Digest, true
		return out
	case !errors.Is(err, api.ErrNotFound):
		out.Error = err.Error()
		return out
	}
	out.Error = "this agent has no driver that could ask its registry"
	for _, d := range a.drivers {
		resolver, ok := d.(runtime.ImageResolver)
		if !ok {
			continue
		}
		config := map[string]any{"image": q.Image}
		if len(q.Auth) > 0 {
			config["auth"] = []any{q.Auth}
		}
		out.Error = ""
		if out.Digest, err = resolver.ResolveImage(ctx, config); err != nil {
			out.Error = err.Error()
		}
	}
	return out
}
