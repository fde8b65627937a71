package containerd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/google/uuid"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

const (
	// importRefs begins the names of what an import writes, and of its lease. The node's ID and an ID of the import follow.
	importRefs = "drover-import-"
	// importImages bounds the images of one archive.
	importImages = 64
	// leaseFor is when containerd forgets what an agent that died was at.
	leaseFor = 24 * time.Hour
)

// ImportImage reads an archive, as `docker save` or an OCI layout, compressed or not, and keeps the images in it.
func (d *Driver) ImportImage(ctx context.Context, archive io.Reader, name string) ([]state.Image, error) {
	s, ctx, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	if name != "" {
		ref, err := state.ParseImage(name)
		if err != nil || ref.Name == "" || ref.Digest != "" {
			return nil, fmt.Errorf("%w: %q cannot be given as its name: want a name and a tag", runtime.ErrBadImage, name)
		}
		name = ref.Name
	}
	d.sweepOnce(ctx, s)
	id := importRefs + d.cfg.NodeID + "-" + uuid.NewString()
	ctx, release, err := s.WithLease(ctx, leases.WithID(id), leases.WithExpiration(leaseFor))
	if err != nil {
		return nil, explain(err, "import image")
	}
	in := &importStore{Store: s.ContentStore(), prefix: id + "-"}
	found, err := d.importArchive(ctx, s, in, archive, name)
	// What was not kept goes at once: nobody would come back for it.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if err != nil {
		in.abort(clean)
	}
	if failed := s.LeasesService().Delete(clean, leases.Lease{ID: id}, leases.SynchronousDelete); failed != nil {
		d.log.Warn("cannot end the lease of an import, containerd does in a day", "lease", id, "error", failed)
		_ = release(clean) // without waiting for the garbage collector
	}
	if err != nil {
		return nil, in.blame(err)
	}
	return found, nil
}

// importArchive stores the content and makes images of it.
func (d *Driver) importArchive(ctx context.Context, s *session, in *importStore, r io.Reader, name string) ([]state.Image, error) {
	targets, all, err := readImages(ctx, in, r, name)
	if err != nil {
		return nil, err
	}
	var made []string
	for i, t := range targets {
		isNew, err := d.keepNew(ctx, s, all[i], t.plain())
		if isNew {
			made = append(made, importedName(all[i].Digest))
		}
		if err != nil {
			for _, fresh := range made { // all of an archive or nothing
				_ = s.ImageService().Delete(context.WithoutCancel(ctx), fresh) // else it stays until it is removed
			}
			return nil, err
		}
	}
	return all, nil
}

// importTarget is one image of an archive and the names that it has there.
type importTarget struct {
	root  ocispec.Descriptor
	names []string
}

// plain is the root without what the archive says beside it.
func (t importTarget) plain() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: t.root.MediaType, Digest: t.root.Digest, Size: t.root.Size}
}

// readImages reads an archive into the store, picks the images to import, and says what each is.
func readImages(ctx context.Context, in *importStore, r io.Reader, name string) (targets []importTarget, all []state.Image, err error) {
	top, err := readArchive(ctx, in, r)
	if err != nil {
		return nil, nil, err
	}
	if targets, err = pickImages(ctx, in, top, name); err != nil {
		return nil, nil, err
	}
	for _, t := range targets {
		img, err := describe(ctx, in, t)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, img)
	}
	return targets, all, nil
}

// pickImages says which images the archive holds, and their names.
func pickImages(ctx context.Context, cs content.Store, top ocispec.Descriptor, name string) ([]importTarget, error) {
	entries, err := childrenOf(ctx, cs, top)
	if err != nil {
		return nil, err
	}
	byDigest := map[digest.Digest]*importTarget{}
	var order []digest.Digest
	for _, e := range entries {
		if e.Annotations[images.AnnotationManifestSubject] != "" || !images.IsManifestType(e.MediaType) && !images.IsIndexType(e.MediaType) {
			continue // a signature of another entry, say
		}
		if err := checkDescriptor(e); err != nil {
			return nil, err
		}
		t := byDigest[e.Digest]
		if t == nil {
			t = &importTarget{root: e}
			byDigest[e.Digest] = t
			order = append(order, e.Digest)
		}
		if n := entryName(e); n != "" {
			t.names = append(t.names, n)
		}
	}
	if len(order) == 0 || len(order) > importImages {
		return nil, fmt.Errorf("%w: it holds %d images; between 1 and %d are taken", runtime.ErrBadImage, len(order), importImages)
	}
	targets := make([]importTarget, 0, len(order))
	for _, dgst := range order {
		targets = append(targets, *byDigest[dgst])
	}
	return nameTargets(top, targets, name)
}

// nameTargets gives the images of an archive their names: the one that the user gave, or their own.
func nameTargets(top ocispec.Descriptor, targets []importTarget, name string) ([]importTarget, error) {
	var named, platformed int
	for _, t := range targets {
		if len(t.names) > 0 {
			named++
		}
		if t.root.Platform != nil {
			platformed++
		}
	}
	if len(targets) > 1 && named == 0 && platformed == len(targets) { // one image for several platforms
		targets = []importTarget{{root: top}}
	}
	switch {
	case name != "" && len(targets) > 1:
		return nil, fmt.Errorf("%w: it holds %d images (%s), which one name cannot mean; leave --name out, or save them one by one",
			runtime.ErrBadImage, len(targets), strings.Join(namesOf(targets), ", "))
	case name != "":
		targets[0].names = []string{name}
	case named < len(targets):
		return nil, fmt.Errorf("%w: it does not say what it is called; give it a name with --name app:1", runtime.ErrBadImage)
	}
	return targets, nil
}

func namesOf(targets []importTarget) []string {
	var out []string
	for _, t := range targets {
		for _, n := range t.names {
			out = append(out, state.FamiliarImage(n))
		}
		if len(t.names) == 0 {
			out = append(out, state.ShortDigest(t.root.Digest.String()))
		}
	}
	sort.Strings(out)
	return out
}

// entryName is the full name that an archive gives an image; "" when it has none. The standard's annotation is often a bare tag.
func entryName(e ocispec.Descriptor) string {
	for _, text := range []string{e.Annotations[images.AnnotationImageName], e.Annotations[ocispec.AnnotationRefName]} {
		if !strings.ContainsAny(text, "/:") {
			continue
		}
		if ref, err := state.ParseImage(text); err == nil && ref.Name != "" {
			return ref.Name
		}
	}
	return ""
}

// describe looks at all of an image and says what it is.
func describe(ctx context.Context, cs content.Store, t importTarget) (state.Image, error) {
	tree := newTree(cs, nil)
	whole, err := tree.survey(ctx, t.root, 0)
	if err == nil && whole {
		err = tree.check(ctx, t.root)
	}
	if err != nil {
		return state.Image{}, err
	}
	if !whole {
		return state.Image{}, fmt.Errorf("%w: parts of it are not in the archive, or are not what their names say: the file is damaged, or was cut off", runtime.ErrBadImage)
	}
	img := state.Image{
		Digest: t.root.Digest.String(), MediaType: t.root.MediaType, Names: sortedStrings(t.names), RootSize: t.root.Size, Size: tree.size(),
	}
	for d := range tree.missing {
		img.Missing = append(img.Missing, d.String())
	}
	sort.Strings(img.Missing)
	for _, m := range tree.manifests {
		p, err := tree.platformOf(ctx, m)
		if err != nil {
			return img, err
		}
		if p != "" {
			img.Platforms = append(img.Platforms, p)
		}
	}
	if img.Platforms = sortedStrings(img.Platforms); len(img.Platforms) == 0 {
		return img, fmt.Errorf("%w: it holds nothing that could run", runtime.ErrBadImage)
	}
	if err := (&img).Validate(); err != nil {
		return img, fmt.Errorf("%w: %w", runtime.ErrBadImage, err)
	}
	return img, nil
}

func sortedStrings(list []string) []string {
	out := slices.Clone(list)
	sort.Strings(out)
	return slices.Compact(out)
}

// keepNew keeps an image, and says whether it was not here before.
func (d *Driver) keepNew(ctx context.Context, s *session, img state.Image, root ocispec.Descriptor) (isNew bool, err error) {
	if _, err = s.ImageService().Get(ctx, importedName(img.Digest)); err != nil && !errdefs.IsNotFound(err) {
		return false, explain(err, "look for image %s", img.Digest)
	}
	return err != nil, d.keep(ctx, s, img, root)
}

// keep makes an image of content that is whole here, and unpacks it when it is made for this machine.
func (d *Driver) keep(ctx context.Context, s *session, img state.Image, root ocispec.Descriptor) error {
	if err := newTree(s.ContentStore(), img.Missing).label(ctx, root); err != nil {
		return explain(err, "mark the parts of image %s", img.Digest)
	}
	labels, err := d.imageLabels(img)
	if err != nil {
		return err
	}
	row := images.Image{Name: importedName(img.Digest), Target: root, Labels: labels}
	_, err = s.ImageService().Create(ctx, row)
	if errdefs.IsAlreadyExists(err) {
		_, err = s.ImageService().Update(ctx, row)
	}
	if err != nil {
		return explain(err, "keep image %s", img.Digest)
	}
	return d.unpack(ctx, s, img)
}

// unpack makes an image ready to run, when it is made for this machine.
func (d *Driver) unpack(ctx context.Context, s *session, img state.Image) error {
	if !runsHere(img.Platforms) {
		return nil
	}
	here, err := s.GetImage(ctx, importedName(img.Digest))
	if err != nil {
		return explain(err, "look for image %s", img.Digest)
	}
	if err := here.Unpack(ctx, s.snapshotter); err != nil {
		if isAway(err) {
			return explain(err, "unpack image %s", img.Digest)
		}
		return fmt.Errorf("unpack image %s: %w: %w", img.Digest, runtime.ErrBadImage, err)
	}
	return nil
}

// runsHere reports whether one of the platforms is this machine's.
func runsHere(names []string) bool {
	here := platforms.Default()
	for _, name := range names {
		if p, err := platforms.Parse(name); err == nil && here.Match(p) {
			return true
		}
	}
	return false
}
