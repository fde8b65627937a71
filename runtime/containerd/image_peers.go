package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

const (
	// fetchRefs begins the names of what is being fetched; the digest follows. An agent that died goes on where it was.
	fetchRefs = "drover-fetch-"
	// parallelBlobs is how many parts of one image are fetched at a time.
	parallelBlobs = 3
	// lookTimeout bounds the question to the cluster what a name means.
	lookTimeout = 15 * time.Second
)

// clusterImage finds an image that the cluster knows, and fetches it when it is not here. known is false for one that is the
// registry's business.
func (d *Driver) clusterImage(ctx context.Context, s *session, name string, stall time.Duration) (img client.Image, known bool, err error) {
	ref, err := state.ParseImage(name)
	if err != nil {
		return nil, false, nil // the caller says what is wrong with it
	}
	if ref.Digest != "" {
		if img, err := localImage(ctx, s, importedName(ref.Digest)); img != nil || err != nil {
			return img, true, err
		}
	}
	src := d.imageSource()
	if src == nil || d.hasPulled(ctx, s, name, ref) {
		return nil, false, nil
	}
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := src.FindImage(look, name)
	switch {
	case err != nil && ref.Digest != "":
		d.log.Warn("cannot ask the cluster for an image; its registry is asked", "image", name, "error", err)
		return nil, false, nil // a digest means the same everywhere
	case err != nil:
		return nil, true, fmt.Errorf("ask the cluster what image %s is: %w: %w", name, runtime.ErrUnavailable, err)
	case found == nil:
		return nil, false, nil
	}
	img, err = localImage(ctx, s, importedName(found.Digest))
	if img == nil && err == nil {
		img, err = d.fetchShared(ctx, found, stall)
	}
	return img, true, err
}

// hasPulled reports whether an image with a digest has come from its registry already.
func (d *Driver) hasPulled(ctx context.Context, s *session, name string, ref state.ImageRef) bool {
	if ref.Digest == "" || ref.Name == "" {
		return false
	}
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return false
	}
	_, err = s.GetImage(ctx, named.String())
	return err == nil
}

// FetchImage makes an image whole on this machine.
func (d *Driver) FetchImage(ctx context.Context, img *runtime.ClusterImage) error {
	_, err := d.fetchShared(ctx, img, defaultPullTimeout)
	return err
}

// fetchShared fetches an image from its holders, once for all who want it meanwhile.
func (d *Driver) fetchShared(ctx context.Context, img *runtime.ClusterImage, stall time.Duration) (client.Image, error) {
	return d.share(ctx, "cluster "+img.Digest, func(ctx context.Context) (client.Image, error) {
		s, ctx, err := d.session(ctx)
		if err != nil {
			return nil, err
		}
		if err := d.fetchTree(ctx, s, img, stall); err != nil {
			return nil, err
		}
		here, err := s.GetImage(ctx, importedName(img.Digest))
		if err != nil {
			return nil, explain(err, "look for image %s", img.Digest)
		}
		d.imageSource().Stored(img.Digest)
		if !runsHere(img.Platforms) {
			return here, fmt.Errorf("image %s is made for %s, this machine is %s: %w", nameOf(img), strings.Join(img.Platforms, ", "),
				platforms.DefaultString(), runtime.ErrNotRetryable)
		}
		return here, nil
	})
}

func nameOf(img *runtime.ClusterImage) string {
	if len(img.Names) > 0 {
		return state.FamiliarImage(img.Names[0])
	}
	return state.ShortDigest(img.Digest)
}

// fetchTree fetches all content of an image and keeps it.
func (d *Driver) fetchTree(ctx context.Context, s *session, img *runtime.ClusterImage, stall time.Duration) error {
	// The lease has the image's name: another life of this agent finds what this one had fetched.
	id := fetchRefs + d.cfg.NodeID + "-" + strings.TrimPrefix(img.Digest, "sha256:")
	if _, err := s.LeasesService().Create(ctx, leases.WithID(id), leases.WithExpiration(leaseFor)); err != nil && !errdefs.IsAlreadyExists(err) {
		return explain(err, "fetch image %s", nameOf(img))
	}
	ctx = leases.WithLease(ctx, id)
	f := &runtime.ImageFetch{Source: d.imageSource(), Image: img, Stall: stall, Logger: d.log}
	way := &transfer{whole: img.Size}
	defer d.pulls.begin(way, append(slices.Clone(img.Names), img.Digest)...)()
	began := time.Now()
	root, err := rootOf(img)
	if err != nil {
		return err
	}
	tree := newTree(s.ContentStore(), img.Missing)
	fetch := func(ctx context.Context, desc ocispec.Descriptor) error { return d.fetchBlob(ctx, s, f, way, desc) }
	if err := tree.walk(ctx, root, 0, fetch); err != nil {
		return fmt.Errorf("fetch image %s: %w", nameOf(img), err)
	}
	g, leaves := errgroup.WithContext(ctx)
	g.SetLimit(parallelBlobs)
	for _, desc := range tree.leaves {
		g.Go(func() error { return d.fetchBlob(leaves, s, f, way, desc) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := d.keep(ctx, s, img.Image, root); err != nil {
		return err
	}
	if err := s.LeasesService().Delete(ctx, leases.Lease{ID: id}); err != nil {
		d.log.Warn("cannot end the lease of an image that was fetched, containerd does in a day", "lease", id, "error", err)
	}
	d.log.Info("image fetched from other machines", "image", nameOf(img), "digest", img.Digest, "bytes", tree.size(), "took", time.Since(began))
	return nil
}

// rootOf is what the image's digest names.
func rootOf(img *runtime.ClusterImage) (ocispec.Descriptor, error) {
	root := ocispec.Descriptor{MediaType: img.MediaType, Digest: digest.Digest(img.Digest), Size: img.RootSize}
	if err := checkDescriptor(root); err != nil {
		return root, err
	}
	if !images.IsManifestType(root.MediaType) && !images.IsIndexType(root.MediaType) {
		return root, fmt.Errorf("fetch image %s: %w: it is a %q", nameOf(img), runtime.ErrBadImage, root.MediaType)
	}
	return root, nil
}

// fetchBlob fetches one part, unless it is here.
func (d *Driver) fetchBlob(ctx context.Context, s *session, f *runtime.ImageFetch, way *transfer, desc ocispec.Descriptor) error {
	way.note(desc, fetchRef(desc))
	w, err := openSink(ctx, s.ContentStore(), desc)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return explain(err, "fetch %s", desc.Digest)
	}
	defer w.close()
	err = f.Blob(ctx, desc.Digest.String(), desc.Size, w)
	if err != nil && isAway(err) && ctx.Err() == nil {
		return explain(err, "fetch %s", desc.Digest)
	}
	return err
}

// contentSink writes a part into containerd's content store.
type contentSink struct {
	cs   content.Store
	desc ocispec.Descriptor
	w    content.Writer
}

func openSink(ctx context.Context, cs content.Store, desc ocispec.Descriptor) (*contentSink, error) {
	sink := &contentSink{cs: cs, desc: desc}
	return sink, sink.open(ctx)
}

func (c *contentSink) ref() string { return fetchRef(c.desc) }

// fetchRef is the name under which a part is written.
func fetchRef(desc ocispec.Descriptor) string { return fetchRefs + desc.Digest.String() }

// open waits while another agent that shares the daemon writes the same.
func (c *contentSink) open(ctx context.Context) (err error) {
	c.w, err = content.OpenWriter(ctx, c.cs, content.WithRef(c.ref()), content.WithDescriptor(ocispec.Descriptor{Digest: c.desc.Digest, Size: c.desc.Size}))
	return err
}

func (c *contentSink) close() {
	if c.w != nil {
		_ = c.w.Close() // what was written stays for the next attempt
	}
}

// Write appends to the part.
func (c *contentSink) Write(p []byte) (int, error) { return c.w.Write(p) }

// Offset is how much of it is here.
func (c *contentSink) Offset() (int64, error) {
	st, err := c.w.Status()
	return st.Offset, err
}

// Reset throws away what was written.
func (c *contentSink) Reset(ctx context.Context) error {
	c.close()
	if err := c.cs.Abort(ctx, c.ref()); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return c.open(ctx)
}

// Commit finishes the part.
func (c *contentSink) Commit(ctx context.Context) error {
	err := c.w.Commit(ctx, c.desc.Size, c.desc.Digest)
	switch {
	case err == nil, errdefs.IsAlreadyExists(err):
		return nil
	case errdefs.IsFailedPrecondition(err):
		return fmt.Errorf("%s: %w: %w", c.desc.Digest, runtime.ErrBadImage, err)
	}
	return err
}

// ResolveImage asks the registry what a task's image is now.
func (d *Driver) ResolveImage(ctx context.Context, config map[string]any) (string, error) {
	o, err := decodeOptions(config)
	if err != nil {
		return "", err
	}
	named, err := reference.ParseDockerRef(o.Image)
	if err != nil {
		return "", fmt.Errorf("read image name %q: %w: %w", o.Image, runtime.ErrNotRetryable, err)
	}
	p := newPullState(named.String(), reference.Domain(named), o, d.cfg.Pulls.stallTimeout())
	ctx = log.WithLogger(ctx, d.quiet) // the library's own lines have no place among the agent's
	_, desc, err := d.resolver(ctx, p).Resolve(ctx, p.ref)
	if err != nil {
		if cause := permanent(err, o.Auth); cause != "" {
			return "", errors.New(cause)
		}
		return "", err
	}
	if !state.ValidDigest(desc.Digest.String()) {
		return "", fmt.Errorf("the registry names the digest %.100q, only sha256 is taken", desc.Digest)
	}
	return desc.Digest.String(), nil
}
