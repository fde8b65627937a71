package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

var (
	_ runtime.ImageStore    = (*Driver)(nil)
	_ runtime.ImageResolver = (*Driver)(nil)
)

const (
	// importedImages begins the names, in containerd, of images that came from the cluster. The names by which users call them are
	// the cluster's business: no archive decides what a registry's name means on this node.
	importedImages = "drover.local/imported:sha256-"
	// labelImported marks such an image; its value is the cluster's ID. No garbage collection by age or size may take it: the
	// cluster says when it goes.
	labelImported = "drover.imported"
	// labelImage begins the labels that together hold what the cluster said of the image, as JSON: it survives the agent.
	labelImage = "drover.image."
	// maxLabel bounds one of them; containerd takes 4096 bytes with the key.
	maxLabel = 3500
	// wholeFor is how long an image that was seen whole is not looked at again.
	wholeFor = 5 * time.Minute
)

func importedName(dgst string) string { return importedImages + strings.TrimPrefix(dgst, "sha256:") }

// imageShelf is what is known of the imported images on this machine.
type imageShelf struct {
	mu     sync.Mutex
	source runtime.ImageSource
	whole  map[string]wholeImage // by digest
	swept  sync.Once
}

// wholeImage is an image that was seen whole.
type wholeImage struct {
	parts map[digest.Digest]int64
	until time.Time
}

// UseImages hands in the way to the rest of the cluster.
func (d *Driver) UseImages(src runtime.ImageSource) {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	d.shelf.source = src
}

func (d *Driver) imageSource() runtime.ImageSource {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	return d.shelf.source
}

// imageLabels are how an image is known again on this machine.
func (d *Driver) imageLabels(img state.Image) (map[string]string, error) {
	img.Holders = nil
	text, err := json.Marshal(img)
	if err != nil {
		return nil, fmt.Errorf("describe image %s: %w", img.Digest, err)
	}
	labels := map[string]string{labelImported: d.clusterLabel()}
	for i := 0; len(text) > 0; i++ {
		n := min(len(text), maxLabel)
		labels[fmt.Sprintf("%s%d", labelImage, i)], text = string(text[:n]), text[n:]
	}
	return labels, nil
}

func (d *Driver) clusterLabel() string {
	if id := d.cfg.ClusterID(); id != "" {
		return id
	}
	return "-"
}

// noted reads what imageLabels wrote.
func noted(img images.Image) (state.Image, error) {
	var text strings.Builder
	for i := 0; ; i++ {
		part, ok := img.Labels[fmt.Sprintf("%s%d", labelImage, i)]
		if !ok {
			break
		}
		text.WriteString(part)
	}
	var out state.Image
	if err := json.Unmarshal([]byte(text.String()), &out); err != nil || out.Digest != img.Target.Digest.String() {
		return out, fmt.Errorf("read the labels of image %s: %w", img.Name, errors.Join(err, runtime.ErrBadImage))
	}
	return out, nil
}

// NoteImage keeps with an image what the cluster says of it.
func (d *Driver) NoteImage(ctx context.Context, img state.Image) error {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return err
	}
	row, err := s.ImageService().Get(ctx, importedName(img.Digest))
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return explain(err, "look for image %s", img.Digest)
	}
	if row.Labels, err = d.imageLabels(img); err != nil {
		return err
	}
	_, err = s.ImageService().Update(ctx, row, "labels")
	return explain(err, "note what image %s is", img.Digest)
}

// HeldImages lists the images of this cluster that are whole here.
func (d *Driver) HeldImages(ctx context.Context) ([]state.Image, error) {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	d.sweepOnce(ctx, s)
	rows, err := s.ImageService().List(ctx, `labels."`+labelImported+`"==`+quote(d.clusterLabel()))
	if err != nil {
		return nil, explain(err, "list imported images")
	}
	var out []state.Image
	for _, row := range rows {
		img, err := noted(row)
		if err != nil {
			d.log.Warn("an imported image is passed over", "image", row.Name, "error", err)
			continue
		}
		_, err = d.partsOf(ctx, s, img, row.Target)
		switch {
		case err == nil:
			out = append(out, img)
		case isAway(err):
			return nil, explain(err, "look at image %s", img.Digest)
		default:
			d.log.Warn("an imported image is not whole any more", "image", img.Digest, "error", err)
		}
	}
	return out, nil
}

// partsOf are the parts of an image, which must all be here.
func (d *Driver) partsOf(ctx context.Context, s *session, img state.Image, root ocispec.Descriptor) (map[digest.Digest]int64, error) {
	d.shelf.mu.Lock()
	known, ok := d.shelf.whole[img.Digest]
	d.shelf.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.parts, nil
	}
	tree := newTree(s.ContentStore(), img.Missing)
	if err := tree.check(ctx, root); err != nil {
		return nil, err
	}
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if d.shelf.whole == nil {
		d.shelf.whole = map[string]wholeImage{}
	}
	d.shelf.whole[img.Digest] = wholeImage{parts: tree.parts, until: time.Now().Add(wholeFor)}
	return tree.parts, nil
}

// forgetWhole has an image be looked at again.
func (d *Driver) forgetWhole(dgst string) {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	delete(d.shelf.whole, dgst)
}

// DropImage removes an imported image. Containers that were made of it keep their files.
func (d *Driver) DropImage(ctx context.Context, dgst string) error {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return err
	}
	d.forgetWhole(dgst)
	err = s.ImageService().Delete(ctx, importedName(dgst), images.SynchronousDelete())
	if err != nil && !errdefs.IsNotFound(err) {
		return explain(err, "remove image %s", dgst)
	}
	return nil
}

// OpenBlob opens a part of an imported image. Nothing else of the content store is given away.
func (d *Driver) OpenBlob(ctx context.Context, dgst string) (runtime.Blob, error) {
	if !state.ValidDigest(dgst) {
		return nil, fmt.Errorf("open %.100q: it is not a digest: %w", dgst, runtime.ErrNoContent)
	}
	s, ctx, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	owner := d.ownerOf(digest.Digest(dgst))
	if owner == "" {
		if _, err := d.HeldImages(ctx); err != nil { // perhaps it came a moment ago, or the agent was started again
			return nil, err
		}
		if owner = d.ownerOf(digest.Digest(dgst)); owner == "" {
			return nil, fmt.Errorf("open %s: no imported image here has it: %w", dgst, runtime.ErrNoContent)
		}
	}
	ra, err := s.ContentStore().ReaderAt(ctx, ocispec.Descriptor{Digest: digest.Digest(dgst)})
	if errdefs.IsNotFound(err) {
		d.forgetWhole(owner)
		return nil, fmt.Errorf("open %s: %w", dgst, runtime.ErrNoContent)
	}
	if err != nil {
		return nil, explain(err, "open %s", dgst)
	}
	return blob{ra}, nil
}

// blob is content of containerd's.
type blob struct{ content.ReaderAt }

// ownerOf is an image that was seen whole and has the part.
func (d *Driver) ownerOf(part digest.Digest) string {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	for dgst, w := range d.shelf.whole {
		if _, ok := w.parts[part]; ok {
			return dgst
		}
	}
	return ""
}

// sweepOnce does it before the first import of this life.
func (d *Driver) sweepOnce(ctx context.Context, s *session) {
	d.shelf.swept.Do(func() { d.sweepImports(ctx, s) })
}

// sweepImports throws away what imports of an earlier life of this agent left behind.
func (d *Driver) sweepImports(ctx context.Context, s *session) {
	mine := importRefs + d.cfg.NodeID + "-"
	left, err := s.ContentStore().ListStatuses(ctx)
	if err != nil {
		d.log.Debug("cannot list what imports left behind", "error", err)
		return
	}
	for _, st := range left {
		if strings.HasPrefix(st.Ref, mine) {
			_ = s.ContentStore().Abort(ctx, st.Ref) // the next start tries again
		}
	}
	held, err := s.LeasesService().List(ctx)
	if err != nil {
		return
	}
	for _, l := range held {
		if strings.HasPrefix(l.ID, mine) {
			_ = s.LeasesService().Delete(ctx, leases.Lease{ID: l.ID}) // it ends by itself in a day
		}
	}
}
