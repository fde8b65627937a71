package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// Operations on images that Driver.Fail and Machine.Hook know.
const (
	OpImport = "ImportImage"
	OpFetch  = "FetchImage"
	OpRead   = "ReadBlob" // each read of a part that another machine asked for
	// OpResolve is asking the imaginary registry what a tag means.
	OpResolve = "ResolveImage"
)

const (
	// fakeMedia is the media type of an imaginary image.
	fakeMedia = "application/vnd.drover.fake.image"
	// partBytes is how the content of an imaginary image is cut.
	partBytes = 64 << 10
	// maxFakeImage bounds an archive.
	maxFakeImage = 64 << 20
	// fetchStall is how long a fetch goes on without a byte.
	fetchStall = 5 * time.Minute
)

var (
	_ runtime.ImageStore    = (*Driver)(nil)
	_ runtime.ImagePuller   = (*Driver)(nil)
	_ runtime.ImageResolver = (*Driver)(nil)
	_ runtime.PullWatcher   = (*Driver)(nil)
)

// shelf is the images of a machine: an imaginary image is a JSON list of the digests of its parts, and the parts.
type shelf struct {
	images map[string]state.Image
	parts  map[string][]byte
	begun  map[string][]byte // parts that are not whole yet
	tags   map[string]string // full name → digest, in the imaginary registry
}

// fakePart is one line of an imaginary image's list.
type fakePart struct {
	Digest string
	Size   int64
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// UseImages hands in the way to the rest of the cluster.
func (d *Driver) UseImages(src runtime.ImageSource) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.source = src
}

func (d *Driver) imageSource() runtime.ImageSource {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.source
}

// ImportImage takes any bytes for an image; a first line "name: app:1" names it.
func (d *Driver) ImportImage(ctx context.Context, archive io.Reader, name string) ([]state.Image, error) {
	if err := d.enter(ctx, OpImport, runtime.TaskID{}); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(archive, maxFakeImage+1))
	if err != nil {
		return nil, fmt.Errorf("import image: %w: %w", runtime.ErrBadImage, err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	if own, ok := strings.CutPrefix(string(line), "name: "); ok && name == "" {
		name = own
	}
	ref, err := state.ParseImage(name)
	if err != nil || ref.Name == "" || len(data) == 0 || len(data) > maxFakeImage {
		return nil, fmt.Errorf("import image: %w: give it a name with --name app:1", runtime.ErrBadImage)
	}
	var list []fakePart
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	for chunk := range slices.Chunk(data, partBytes) {
		p := fakePart{Digest: digestOf(chunk), Size: int64(len(chunk))}
		list = append(list, p)
		d.m.shelf.parts[p.Digest] = chunk
	}
	root, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	img := state.Image{
		Digest: digestOf(root), MediaType: fakeMedia, Names: []string{ref.Name}, RootSize: int64(len(root)), Size: int64(len(root) + len(data)),
		Platforms: []string{"fake"},
	}
	d.m.shelf.parts[img.Digest], d.m.shelf.images[img.Digest] = root, img
	return []state.Image{img}, nil
}

// NoteImage keeps with an image what the cluster says of it.
func (d *Driver) NoteImage(_ context.Context, img state.Image) error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if _, ok := d.m.shelf.images[img.Digest]; ok {
		img.Holders = nil
		d.m.shelf.images[img.Digest] = img
	}
	return nil
}

// HeldImages lists the images that are whole.
func (d *Driver) HeldImages(ctx context.Context) ([]state.Image, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	var out []state.Image
	for _, dgst := range slices.Sorted(maps.Keys(d.m.shelf.images)) {
		if d.m.shelf.whole(dgst) {
			out = append(out, d.m.shelf.images[dgst])
		}
	}
	return out, nil
}

func (s *shelf) whole(dgst string) bool {
	var list []fakePart
	if err := json.Unmarshal(s.parts[dgst], &list); err != nil {
		return false
	}
	return !slices.ContainsFunc(list, func(p fakePart) bool { return s.parts[p.Digest] == nil })
}

// EnsureImage fetches the image that a task names, when the cluster knows it. Names that it does not know need none.
func (d *Driver) EnsureImage(ctx context.Context, spec runtime.TaskSpec) (string, error) {
	name, _ := spec.Config["image"].(string)
	src := d.imageSource()
	if name == "" || src == nil {
		return name, nil
	}
	ref, err := state.ParseImage(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", runtime.ErrNotRetryable, err)
	}
	if ref.Digest != "" && d.holds(ref.Digest) {
		return ref.Digest, nil
	}
	img, err := src.FindImage(ctx, name)
	switch {
	case err != nil:
		return "", fmt.Errorf("ask the cluster what image %s is: %w: %w", name, runtime.ErrUnavailable, err)
	case img == nil:
		return "", fmt.Errorf("image %s was not imported: %w", name, runtime.ErrNotRetryable)
	}
	return img.Digest, d.FetchImage(ctx, img)
}

func (d *Driver) holds(dgst string) bool {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	_, known := d.m.shelf.images[dgst]
	return known && d.m.shelf.whole(dgst)
}

// FetchImage makes an image whole on this machine.
func (d *Driver) FetchImage(ctx context.Context, img *runtime.ClusterImage) error {
	if d.holds(img.Digest) {
		return nil
	}
	if err := d.enter(ctx, OpFetch, runtime.TaskID{}); err != nil {
		return err
	}
	defer d.move(img, 0)
	f := &runtime.ImageFetch{Source: d.imageSource(), Image: img, Stall: fetchStall, Moved: func(n int) { d.move(img, n) }}
	if err := f.Blob(ctx, img.Digest, img.RootSize, &fakeSink{m: d.m, digest: img.Digest}); err != nil {
		return err
	}
	d.m.mu.Lock()
	root := d.m.shelf.parts[img.Digest]
	d.m.mu.Unlock()
	var list []fakePart
	if err := json.Unmarshal(root, &list); err != nil {
		return fmt.Errorf("fetch image: %w: %w", runtime.ErrBadImage, err)
	}
	for _, p := range list {
		if err := f.Blob(ctx, p.Digest, p.Size, &fakeSink{m: d.m, digest: p.Digest}); err != nil {
			return err
		}
	}
	d.m.mu.Lock()
	row := img.Image
	row.Holders = nil
	d.m.shelf.images[img.Digest] = row
	d.m.mu.Unlock()
	d.imageSource().Stored(img.Digest)
	return nil
}

// Publish has the imaginary registry, as this machine sees it, say that a name in full ("docker.io/library/app:1") means a digest.
func (m *Machine) Publish(name, digest string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shelf.tags == nil {
		m.shelf.tags = map[string]string{}
	}
	m.shelf.tags[name] = digest
}

// ResolveImage asks the imaginary registry.
func (d *Driver) ResolveImage(ctx context.Context, config map[string]any) (string, error) {
	name, _ := config["image"].(string)
	ref, err := state.ParseImage(name)
	if err == nil {
		err = d.enter(ctx, OpResolve, runtime.TaskID{})
	}
	if err == nil {
		err = ctx.Err() // the hook may have taken long
	}
	if err != nil {
		return "", err
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if digest := d.m.shelf.tags[ref.Name]; digest != "" {
		return digest, nil
	}
	return "", errors.New("the registry does not have it")
}

// fakeMove is how far an image is.
type fakeMove struct{ done, total int64 }

// move notes that bytes of an image have come; 0 means that no more will.
func (d *Driver) move(img *runtime.ClusterImage, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moving == nil {
		d.moving = map[string]fakeMove{}
	}
	for _, name := range append(slices.Clone(img.Names), img.Digest) {
		if m := d.moving[name]; n > 0 {
			d.moving[name] = fakeMove{m.done + int64(n), img.Size}
		} else {
			delete(d.moving, name)
		}
	}
}

// PullProgress says how much of a task's image has come.
func (d *Driver) PullProgress(_ context.Context, spec runtime.TaskSpec) (done, total int64, ok bool) {
	name, _ := spec.Config["image"].(string)
	ref, err := state.ParseImage(name)
	if err != nil {
		return 0, 0, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.moving[ref.Digest]
	if !ok {
		m, ok = d.moving[ref.Name]
	}
	return m.done, m.total, ok
}

// DropImage removes an image.
func (d *Driver) DropImage(_ context.Context, digest string) error {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	delete(d.m.shelf.images, digest)
	return nil
}

// LoseImage makes the machine lose the content of an image, as a disk does.
func (m *Machine) LoseImage(digest string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.shelf.parts, digest)
}

// Images are the digests of the images that are whole on the machine.
func (m *Machine) Images() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, dgst := range slices.Sorted(maps.Keys(m.shelf.images)) {
		if m.shelf.whole(dgst) {
			out = append(out, dgst)
		}
	}
	return out
}

// Begun is how many bytes of parts there are that are not whole.
func (m *Machine) Begun() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, part := range m.shelf.begun {
		n += len(part)
	}
	return n
}

// OpenBlob opens a part of an image.
func (d *Driver) OpenBlob(ctx context.Context, digest string) (runtime.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	data, ok := d.m.shelf.parts[digest]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", digest, runtime.ErrNoContent)
	}
	return fakeBlob{Reader: bytes.NewReader(data), d: d}, nil
}

// fakeBlob is a part being read by another machine.
type fakeBlob struct {
	*bytes.Reader
	d *Driver
}

// ReadAt reads, unless the hook says otherwise.
func (b fakeBlob) ReadAt(p []byte, off int64) (int, error) {
	if err := b.d.enter(context.Background(), OpRead, runtime.TaskID{}); err != nil {
		return 0, err
	}
	return b.Reader.ReadAt(p, off)
}

// Size is the part's.
func (b fakeBlob) Size() int64 { return b.Reader.Size() }

// Close does nothing.
func (fakeBlob) Close() error { return nil }

// fakeSink is a part being fetched.
type fakeSink struct {
	m      *Machine
	digest string
}

// Write appends.
func (s *fakeSink) Write(p []byte) (int, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.shelf.begun[s.digest] = append(s.m.shelf.begun[s.digest], p...)
	return len(p), nil
}

// Offset is how much is there.
func (s *fakeSink) Offset() (int64, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if whole, ok := s.m.shelf.parts[s.digest]; ok {
		return int64(len(whole)), nil
	}
	return int64(len(s.m.shelf.begun[s.digest])), nil
}

// Reset forgets it.
func (s *fakeSink) Reset(context.Context) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	delete(s.m.shelf.begun, s.digest)
	return nil
}

// Commit checks it.
func (s *fakeSink) Commit(context.Context) error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if _, ok := s.m.shelf.parts[s.digest]; ok {
		return nil
	}
	data := s.m.shelf.begun[s.digest]
	if digestOf(data) != s.digest {
		return fmt.Errorf("%s: %w", s.digest, runtime.ErrBadImage)
	}
	delete(s.m.shelf.begun, s.digest)
	s.m.shelf.parts[s.digest] = data
	return nil
}
