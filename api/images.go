package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

// ImageHolder is a node that has all of an image.
type ImageHolder struct {
	NodeID   string
	Name     string
	PeerAddr string
	Status   string // of the node: a state.NodeStatus constant; "" when the cluster has forgotten it
}

// ImageListItem is one imported image of a list.
type ImageListItem struct {
	Digest    string
	Names     []string // in full; none when newer imports took them all and a job still needs the image
	Size      int64    // bytes
	Platforms []string
	Source    string
	Copies    int   // nodes that should have it
	Holders   int   // nodes that have it
	Live      int   // of these, how many are up
	CreatedAt int64 // cluster time, nanoseconds since the Unix epoch

	CreateIndex uint64
	ModifyIndex uint64
}

// ImageView is an imported image with who has it and who needs it.
type ImageView struct {
	*state.Image
	HolderNodes []ImageHolder
	Jobs        []state.JobKey // that need it
}

// ImageImportRequest says what an archive is to be called and where it is to go.
type ImageImportRequest struct {
	Name   string // "" means the names that the archive has
	NodeID string // the agent to take it in; "" means the one asked, or one that can
	Source string // where it comes from, for people
	Copies int    // nodes that should have it; 0 means DefaultImageCopies
}

// DefaultImageCopies is how many nodes should have an image that was imported: it outlives the loss of any two of them.
const DefaultImageCopies = 3

// ImageImportResponse is what an import stored.
type ImageImportResponse struct {
	NodeID   string // where it was taken in
	NodeName string
	Images   []*state.Image
	Index    uint64 // Raft index at which the last is stored
}

// ImageQuestion asks what the tag of an image means now.
type ImageQuestion struct {
	Image string
	Auth  map[string]any `json:",omitempty"` // the auth block of the task's config, for its registry
}

// ImageAnswer is what a tag means now.
type ImageAnswer struct {
	Image    string
	Digest   string `json:",omitempty"` // "" when nobody could tell
	Imported bool   `json:",omitempty"` // by the cluster's word, not a registry's
	Error    string `json:",omitempty"`
}

// ImageResolveRequest asks about several images at once.
type ImageResolveRequest struct{ Images []ImageQuestion }

// ImageResolveResponse answers in the order of the questions.
type ImageResolveResponse struct{ Images []ImageAnswer }

// maxQuestions bounds an ImageResolveRequest.
const maxQuestions = 200

func watchImages(*call) watchFor {
	return watchFor{
		keys: []state.Key{state.KeyImages(), state.KeyNodes()},
		changed: func(snap *state.Snapshot, since uint64) bool {
			for range snap.NodesDirtySince(since) { // how many holders are up
				return true
			}
			return snap.ImagesChangedAt() > since
		},
	}
}

func listImages(c *call, snap *state.Snapshot) ([]ImageListItem, error) {
	rows := filtered(snap.Images(), func(img *state.Image) bool { return !img.Removed && imageHasPrefix(img, c.opts.prefix) })
	return page(c, rows, func(img *state.Image) string { return img.Digest }, func(img *state.Image) ImageListItem {
		return ImageListItem{
			Digest: img.Digest, Names: img.Names, Size: img.Size, Platforms: img.Platforms, Source: img.Source, Copies: img.Copies,
			Holders: len(img.Holders), Live: len(snap.LiveHolders(img)), CreatedAt: img.CreatedAt,
			CreateIndex: img.CreateIndex, ModifyIndex: img.ModifyIndex,
		}
	})
}

// imageHasPrefix reports whether the digest, with or without its algorithm, or a name, in full or as people write it, begins so.
func imageHasPrefix(img *state.Image, prefix string) bool {
	if strings.HasPrefix(img.Digest, prefix) || strings.HasPrefix(strings.TrimPrefix(img.Digest, "sha256:"), prefix) {
		return true
	}
	return slices.ContainsFunc(img.Names, func(n string) bool {
		return strings.HasPrefix(n, prefix) || strings.HasPrefix(state.FamiliarImage(n), prefix)
	})
}

// image finds the image that the path names.
func (c *call) image(snap *state.Snapshot) (*state.Image, error) {
	ref, err := state.ParseImage(c.id())
	if err != nil {
		return nil, NewError(CodeInvalid, "give a name such as app:1, or a digest", "%s", err)
	}
	img := snap.FindImage(ref)
	if img == nil {
		return nil, NewError(CodeNotFound, "list them with `drover image list` or GET /v1/images", "no image %q was imported into the cluster", c.id())
	}
	return img, nil
}

func readImage(c *call, snap *state.Snapshot) (*ImageView, error) {
	img, err := c.image(snap)
	if err != nil {
		return nil, err
	}
	return imageView(snap, img), nil
}

func imageView(snap *state.Snapshot, img *state.Image) *ImageView {
	v := &ImageView{Image: img, HolderNodes: ImageHoldersOf(snap, img), Jobs: snap.ImageUsers(img)}
	return v
}

// ImageHoldersOf are the holders of an image with what a reader needs to reach them.
func ImageHoldersOf(snap *state.Snapshot, img *state.Image) []ImageHolder {
	var out []ImageHolder
	for _, id := range img.Holders {
		h := ImageHolder{NodeID: id}
		if n := snap.Node(id); n != nil {
			h.Name, h.PeerAddr, h.Status = n.Name, n.PeerAddr, n.Status
		}
		out = append(out, h)
	}
	return out
}

func removeImage(c *call) (*WriteResponse, error) {
	p := parser{values: c.query}
	force := p.flag("force")
	if p.err != nil {
		return nil, p.err
	}
	ref, err := state.ParseImage(c.id())
	if err != nil {
		return nil, NewError(CodeInvalid, "give a name such as app:1, or a digest", "%s", err)
	}
	return c.written(state.RemoveImage{RequestID: c.requestID, Ref: ref, Force: force, Time: c.s.b.Now()})
}

// importImage takes in an archive as it comes.
func importImage(c *call) error {
	p := parser{values: c.query}
	req := &ImageImportRequest{
		Name: c.query.Get("name"), NodeID: c.query.Get("node"), Source: c.query.Get("source"), Copies: int(min(p.uint("copies"), state.MaxImageCopies)),
	}
	if p.err != nil {
		return p.err
	}
	if req.Copies == 0 {
		req.Copies = DefaultImageCopies
	}
	if c.r.ContentLength == 0 {
		return NewError(CodeInvalid, "send an archive, as `docker save` writes it", "the body has no image")
	}
	body := &bodyReader{r: c.in}
	res, err := c.s.b.Images.Import(c.ctx, req, body)
	if err != nil {
		if body.err != nil && !errors.Is(body.err, io.EOF) {
			return c.bodyError(body.err)
		}
		c.drain()
		return err
	}
	c.index = res.Index
	return c.reply(res)
}

// drain reads on for a while: a sender that still sends when the connection is closed may never see the answer.
func (c *call) drain() {
	const bytes, patience = 256 << 20, 10 * time.Second
	deadline := time.Now().Add(patience)
	buf := make([]byte, 1<<20)
	for n := 0; n < bytes && time.Now().Before(deadline); {
		k, err := c.in.Read(buf)
		if err != nil {
			return
		}
		n += k
	}
}

func resolveImages(c *call, req *ImageResolveRequest) (*ImageResolveResponse, error) {
	if len(req.Images) > maxQuestions {
		return nil, NewError(CodeTooLarge, "ask in parts", "%d images, at most %d", len(req.Images), maxQuestions)
	}
	if c.s.b.ResolveImages == nil {
		return nil, NewError(CodeUnavailable, "ask another agent", "this agent cannot ask what images are")
	}
	return &ImageResolveResponse{Images: c.s.b.ResolveImages(c.ctx, req.Images)}, nil
}

// readImageBlob gives another agent a part of an image, from any offset on.
func readImageBlob(c *call) error {
	if !state.ValidDigest(c.id()) {
		return NewError(CodeInvalid, "", "%.100q is not a digest", c.id())
	}
	if c.s.b.Images == nil {
		return NewError(CodeNotFound, "", "this agent keeps no images")
	}
	blob, err := c.s.b.Images.OpenBlob(c.ctx, c.id())
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }() // only read
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", fmt.Sprintf("%q", c.id()))
	c.mark(h)
	broken := &brokenBlob{ReaderAt: blob}
	http.ServeContent(c.w, c.r, "", time.Time{}, io.NewSectionReader(broken, 0, blob.Size()))
	if broken.err != nil {
		panic(http.ErrAbortHandler) // the reader must not take what came for the whole
	}
	return nil
}

// brokenBlob remembers why reading failed.
type brokenBlob struct {
	io.ReaderAt
	err error
}

// ReadAt reads.
func (b *brokenBlob) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
