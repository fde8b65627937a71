package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// Limits of what an image may consist of: what registries take, and some.
const (
	maxManifestBytes = 4 << 20
	maxConfigBytes   = 8 << 20
	maxImageParts    = 10_000
	maxIndexDepth    = 4
)

// imageTree is the content of one image: what its digest names, and what that names in turn.
type imageTree struct {
	cs      content.Store
	missing map[digest.Digest]bool // parts that the index names and the cluster does not have

	parts     map[digest.Digest]int64 // bytes
	manifests []ocispec.Descriptor
	leaves    []ocispec.Descriptor // configurations and layers
}

func newTree(cs content.Store, missing []string) *imageTree {
	t := &imageTree{cs: cs, missing: map[digest.Digest]bool{}, parts: map[digest.Digest]int64{}}
	for _, d := range missing {
		t.missing[digest.Digest(d)] = true
	}
	return t
}

// walk visits what names other content, parents first, and collects the rest in leaves. have makes sure that a part is there.
func (t *imageTree) walk(ctx context.Context, d ocispec.Descriptor, depth int, have func(context.Context, ocispec.Descriptor) error) error {
	if t.missing[d.Digest] {
		return nil
	}
	if _, seen := t.parts[d.Digest]; seen {
		return nil
	}
	if err := checkDescriptor(d); err != nil {
		return err
	}
	if depth > maxIndexDepth || len(t.parts) >= maxImageParts {
		return fmt.Errorf("%w: it nests deeper than %d, or has more than %d parts", runtime.ErrBadImage, maxIndexDepth, maxImageParts)
	}
	t.parts[d.Digest] = d.Size
	parent := images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType)
	if !parent {
		t.leaves = append(t.leaves, d)
		return nil
	}
	if images.IsManifestType(d.MediaType) {
		t.manifests = append(t.manifests, d)
	}
	if err := have(ctx, d); err != nil {
		return err
	}
	children, err := childrenOf(ctx, t.cs, d)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := t.walk(ctx, c, depth+1, have); err != nil {
			return err
		}
	}
	return nil
}

// checkDescriptor refuses what could not be asked for safely.
func checkDescriptor(d ocispec.Descriptor) error {
	if !state.ValidDigest(d.Digest.String()) || d.Size < 0 || d.Size > runtime.MaxImageBytes {
		return fmt.Errorf("%w: a part of it is named %.100q with %d bytes; only sha256 digests are taken", runtime.ErrBadImage, d.Digest, d.Size)
	}
	return nil
}

// childrenOf reads what a manifest or an index names.
func childrenOf(ctx context.Context, cs content.Store, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if err := bounded(ctx, cs, d, maxManifestBytes); err != nil {
		return nil, err
	}
	d.Data = nil // what it claims to hold is not looked at
	children, err := images.Children(ctx, cs, d)
	if err != nil && !isAway(err) && !errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", runtime.ErrBadImage, err)
	}
	return children, err
}

// bounded refuses to read into memory what is too large, and what has another size than was said.
func bounded(ctx context.Context, cs content.Store, d ocispec.Descriptor, limit int64) error {
	info, err := cs.Info(ctx, d.Digest)
	switch {
	case err != nil:
		return err
	case info.Size > limit:
		return fmt.Errorf("%w: %s has %d bytes, at most %d", runtime.ErrBadImage, d.Digest, info.Size, limit)
	case d.Size != info.Size:
		return fmt.Errorf("%w: %s has %d bytes, %d are said", runtime.ErrBadImage, d.Digest, info.Size, d.Size)
	}
	return nil
}

// check makes sure that all of the image is here.
func (t *imageTree) check(ctx context.Context, root ocispec.Descriptor) error {
	have := func(ctx context.Context, d ocispec.Descriptor) error { return present(ctx, t.cs, d) }
	if err := t.walk(ctx, root, 0, have); err != nil {
		return err
	}
	for _, d := range t.leaves {
		if err := present(ctx, t.cs, d); err != nil {
			return err
		}
	}
	return nil
}

func present(ctx context.Context, cs content.Store, d ocispec.Descriptor) error {
	info, err := cs.Info(ctx, d.Digest)
	if err != nil {
		return err
	}
	if info.Size != d.Size {
		return fmt.Errorf("%w: %s has %d bytes, %d are said", runtime.ErrBadImage, d.Digest, info.Size, d.Size)
	}
	return nil
}

// label makes containerd's garbage collector keep what belongs together.
func (t *imageTree) label(ctx context.Context, root ocispec.Descriptor) error {
	children := images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		all, err := childrenOf(ctx, t.cs, d)
		return slices.DeleteFunc(all, func(c ocispec.Descriptor) bool { return t.missing[c.Digest] }), err
	})
	mark := images.SetChildrenLabels(t.cs, children)
	seen := map[digest.Digest]bool{}
	var visit func(d ocispec.Descriptor) error
	visit = func(d ocispec.Descriptor) error {
		if seen[d.Digest] || !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
			return nil
		}
		seen[d.Digest] = true
		kept, err := mark(ctx, d)
		for i := 0; i < len(kept) && err == nil; i++ {
			err = visit(kept[i])
		}
		return err
	}
	return visit(root)
}

// size is how many bytes the image has in all.
func (t *imageTree) size() (sum int64) {
	for _, n := range t.parts {
		sum += n
	}
	return sum
}

// survey finds the parts of an index that are not here, or not whole: an archive may bring one platform of several. It reports
// whether what d names is whole.
func (t *imageTree) survey(ctx context.Context, d ocispec.Descriptor, depth int) (whole bool, err error) {
	if err := checkDescriptor(d); err != nil {
		return false, err
	}
	if depth > maxIndexDepth || len(t.missing) > maxImageParts {
		return false, fmt.Errorf("%w: it nests deeper than %d", runtime.ErrBadImage, maxIndexDepth)
	}
	if err := present(ctx, t.cs, d); err != nil {
		return false, ignoreMissing(err)
	}
	if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
		return true, nil
	}
	children, err := childrenOf(ctx, t.cs, d)
	if err != nil {
		return false, err
	}
	if len(children) > maxImageParts {
		return false, fmt.Errorf("%w: it has more than %d parts", runtime.ErrBadImage, maxImageParts)
	}
	return t.surveyParts(ctx, d, children, depth)
}

// surveyParts is survey of what d names: a manifest is whole with all of it, an index with a part.
func (t *imageTree) surveyParts(ctx context.Context, d ocispec.Descriptor, children []ocispec.Descriptor, depth int) (bool, error) {
	index := images.IsIndexType(d.MediaType)
	found := 0
	for _, c := range children {
		ok, err := t.survey(ctx, c, depth+1)
		switch {
		case err != nil:
			return false, err
		case ok:
			found++
		case index:
			t.missing[c.Digest] = true
		}
	}
	return found == len(children) || index && found > 0, nil
}

func ignoreMissing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// imageHead is the part of an image's configuration that is looked at.
type imageHead struct {
	ocispec.Platform
	RootFS ocispec.RootFS `json:"rootfs"`
}

// platformOf is what a manifest's image runs on; "" for what is no image: a signature, a list of what is inside.
func (t *imageTree) platformOf(ctx context.Context, manifest ocispec.Descriptor) (string, error) {
	parts, err := childrenOf(ctx, t.cs, manifest)
	if err != nil || len(parts) == 0 || !images.IsConfigType(parts[0].MediaType) {
		return "", err
	}
	if err := bounded(ctx, t.cs, parts[0], maxConfigBytes); err != nil {
		return "", err
	}
	config := parts[0]
	config.Data = nil
	text, err := content.ReadBlob(ctx, t.cs, config)
	if err != nil {
		return "", err
	}
	var head imageHead
	if err := json.Unmarshal(text, &head); err != nil {
		return "", fmt.Errorf("%w: its configuration %s cannot be read: %w", runtime.ErrBadImage, config.Digest, err)
	}
	if head.OS == "" || head.OS == "unknown" {
		return "", nil
	}
	return platforms.Format(platforms.Normalize(head.Platform)), checkLayers(parts[1:], head.RootFS.DiffIDs)
}

// checkLayers compares the layers with what the configuration says of them, as far as that can be seen without unpacking.
func checkLayers(layers []ocispec.Descriptor, want []digest.Digest) error {
	layers = slices.DeleteFunc(slices.Clone(layers), func(d ocispec.Descriptor) bool { return !images.IsLayerType(d.MediaType) })
	if len(layers) != len(want) {
		return fmt.Errorf("%w: it has %d layers, its configuration names %d", runtime.ErrBadImage, len(layers), len(want))
	}
	for i, d := range layers {
		plain := d.MediaType == images.MediaTypeDockerSchema2Layer || d.MediaType == ocispec.MediaTypeImageLayer
		if plain && d.Digest != want[i] {
			return fmt.Errorf("%w: layer %d is %s, its configuration says %s", runtime.ErrBadImage, i+1, d.Digest, want[i])
		}
	}
	return nil
}
