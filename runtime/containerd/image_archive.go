package containerd

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

// Limits of archives. containerd's own reader has few of them: a file of some megabytes could make it fill the memory.
const (
	// importEntries bounds the files of one archive, links and directories included.
	importEntries = 20_000
	// archiveJSON bounds what an archive says of itself, in bytes.
	archiveJSON = 4 << 20
	// archiveLayers bounds the layers of one image, of which no file system takes more than 500; archiveNames its names.
	archiveLayers, archiveNames = 1000, 1000
	// archiveWindow bounds how far back a zstd archive may refer, which is kept in memory.
	archiveWindow = 128 << 20
)

// readArchive stores everything in an archive, compressed or not, and returns its index.
func readArchive(ctx context.Context, in *importStore, r io.Reader) (ocispec.Descriptor, error) {
	plain, err := unzip(r)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("%w: %w", runtime.ErrBadImage, err)
	}
	defer plain.Close()
	limited := &io.LimitedReader{R: plain, N: runtime.MaxImageBytes}
	a := &archiveReader{cs: in, files: map[string]ocispec.Descriptor{}, links: map[string]string{}}
	err = a.store(ctx, tar.NewReader(limited))
	if err == nil {
		// What follows the archive's end is read too: a compressed one has its checksum there.
		_, err = io.Copy(io.Discard, limited)
	}
	var top ocispec.Descriptor
	if err == nil && limited.N > 0 {
		top, err = a.index(ctx)
	}
	switch {
	case limited.N <= 0:
		return top, fmt.Errorf("%w: it unpacks to more than %d GiB", runtime.ErrBadImage, runtime.MaxImageBytes>>30)
	case err != nil && !errors.Is(err, runtime.ErrBadImage):
		return top, fmt.Errorf("%w: %w", runtime.ErrBadImage, err)
	}
	return top, err
}

// unzip reads what is inside, by the first bytes.
func unzip(r io.Reader) (io.ReadCloser, error) {
	buf := bufio.NewReaderSize(r, 1<<20)
	head, err := buf.Peek(10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if compression.DetectCompression(head) != compression.Zstd {
		return compression.DecompressStream(buf)
	}
	z, err := zstd.NewReader(buf, zstd.WithDecoderMaxWindow(archiveWindow), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// archiveReader reads an OCI layout, or what docker save writes.
type archiveReader struct {
	cs content.Store

	files  map[string]ocispec.Descriptor // by their path in the archive
	links  map[string]string             // path → path
	layout ocispec.ImageLayout
	saved  []savedImage
}

// savedImage is one image of manifest.json, as docker save writes it.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// store keeps the files of the archive.
func (a *archiveReader) store(ctx context.Context, tr *tar.Reader) error {
	for n := 0; ; n++ {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if n == 0 && errors.Is(err, tar.ErrHeader) {
			return errors.New("it is no tar archive; give what `docker save`, `podman save` or `skopeo copy … oci-archive:FILE` writes")
		}
		if err != nil {
			return err
		}
		if n >= importEntries {
			return fmt.Errorf("it has more than %d files", importEntries)
		}
		if err := a.file(ctx, hdr, tr); err != nil {
			return fmt.Errorf("read %.200q in it: %w", hdr.Name, err)
		}
	}
}

// file stores one of them. Paths are names here and lead nowhere.
func (a *archiveReader) file(ctx context.Context, hdr *tar.Header, r io.Reader) error {
	name := path.Clean(hdr.Name)
	switch hdr.Typeflag {
	case tar.TypeSymlink:
		a.links[name] = path.Join(path.Dir(name), hdr.Linkname)
		return nil
	case tar.TypeLink:
		a.links[name] = path.Clean(hdr.Linkname)
		return nil
	case tar.TypeReg:
	default: // a directory, say
		return nil
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return errors.New("it is a sparse file, which may be of any size") // of zeros that the archive does not have
		}
	}
	switch name {
	case ocispec.ImageLayoutFile:
		return readJSON(r, hdr.Size, &a.layout)
	case "manifest.json":
		return readJSON(r, hdr.Size, &a.saved)
	}
	hash := digest.SHA256.Digester()
	err := content.WriteBlob(ctx, a.cs, "tar-"+name, io.TeeReader(r, hash.Hash()), ocispec.Descriptor{Size: hdr.Size})
	if err != nil {
		return err
	}
	a.files[name] = ocispec.Descriptor{Digest: hash.Digest(), Size: hdr.Size}
	return nil
}

func readJSON(r io.Reader, size int64, into any) error {
	if size > archiveJSON {
		return fmt.Errorf("it has %d bytes, at most %d", size, archiveJSON)
	}
	return json.NewDecoder(r).Decode(into)
}

// index finds the archive's index, or makes the one that docker save leaves out.
func (a *archiveReader) index(ctx context.Context) (ocispec.Descriptor, error) {
	if v := a.layout.Version; v != "" {
		top, ok := a.find(ocispec.ImageIndexFile)
		switch {
		case v != ocispec.ImageLayoutVersion:
			return top, fmt.Errorf("it is an OCI layout of version %.20q, only %s is known", v, ocispec.ImageLayoutVersion)
		case !ok:
			return top, errors.New("it is an OCI layout without index.json")
		}
		top.MediaType = ocispec.MediaTypeImageIndex
		return top, nil
	}
	if len(a.saved) == 0 || len(a.saved) > importImages {
		return ocispec.Descriptor{}, fmt.Errorf("it has neither oci-layout nor a manifest.json with 1 to %d images: unrecognized image format", importImages)
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}}
	for _, s := range a.saved {
		entries, err := a.savedImage(ctx, s)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		index.Manifests = append(index.Manifests, entries...)
	}
	return a.write(ctx, index, ocispec.MediaTypeImageIndex)
}

// find is a file, or what a link leads to.
func (a *archiveReader) find(name string) (ocispec.Descriptor, bool) {
	name = path.Clean(name)
	if to, ok := a.links[name]; ok {
		if _, own := a.files[name]; !own {
			name = to
		}
	}
	f, ok := a.files[name]
	return f, ok
}

// savedImage stores the manifest of an image and describes it, once for each of its names.
func (a *archiveReader) savedImage(ctx context.Context, s savedImage) ([]ocispec.Descriptor, error) {
	if len(s.Layers) > archiveLayers || len(s.RepoTags) > archiveNames {
		return nil, fmt.Errorf("an image in it has %d layers and %d names, at most %d and %d are taken", len(s.Layers), len(s.RepoTags), archiveLayers, archiveNames)
	}
	config, ok := a.find(s.Config)
	if !ok {
		return nil, fmt.Errorf("the configuration %.200q of an image is not in it", s.Config)
	}
	config.MediaType = images.MediaTypeDockerSchema2Config
	layers := make([]ocispec.Descriptor, 0, len(s.Layers))
	for _, name := range s.Layers {
		l, ok := a.find(name)
		if !ok {
			return nil, fmt.Errorf("the layer %.200q of an image is not in it", name)
		}
		var err error
		if l.MediaType, err = a.layerType(ctx, l); err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	manifest := struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Config        ocispec.Descriptor   `json:"config"`
		Layers        []ocispec.Descriptor `json:"layers"`
	}{2, images.MediaTypeDockerSchema2Manifest, config, layers}
	desc, err := a.write(ctx, manifest, manifest.MediaType)
	if err != nil {
		return nil, err
	}
	if desc.Platform, err = a.platform(ctx, config); err != nil {
		return nil, err
	}
	if len(s.RepoTags) == 0 {
		return []ocispec.Descriptor{desc}, nil
	}
	var all []ocispec.Descriptor
	for _, tag := range s.RepoTags {
		named, err := reference.ParseDockerRef(tag)
		if err != nil {
			return nil, fmt.Errorf("the name %.200q of an image: %w", tag, err)
		}
		d := desc
		d.Annotations = map[string]string{images.AnnotationImageName: named.String()}
		all = append(all, d)
	}
	return all, nil
}

// layerType tells compressed layers from plain ones by their first bytes; nothing in the archive does.
func (a *archiveReader) layerType(ctx context.Context, desc ocispec.Descriptor) (string, error) {
	ra, err := a.cs.ReaderAt(ctx, desc)
	if err != nil {
		return "", err
	}
	defer ra.Close()
	head := make([]byte, min(10, desc.Size))
	if _, err := ra.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if compression.DetectCompression(head) == compression.Uncompressed {
		return images.MediaTypeDockerSchema2Layer, nil
	}
	return images.MediaTypeDockerSchema2LayerGzip, nil // whatever unpacks it looks for itself
}

// platform is what a configuration says that the image runs on; nil when it says nothing.
func (a *archiveReader) platform(ctx context.Context, config ocispec.Descriptor) (*ocispec.Platform, error) {
	if err := bounded(ctx, a.cs, config, maxConfigBytes); err != nil {
		return nil, err
	}
	text, err := content.ReadBlob(ctx, a.cs, config)
	if err != nil {
		return nil, err
	}
	var head imageHead
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("its configuration %s cannot be read: %w", config.Digest, err)
	}
	if head.OS == "" {
		return nil, nil
	}
	p := platforms.Normalize(head.Platform)
	return &p, nil
}

// write stores what the archive leaves out.
func (a *archiveReader) write(ctx context.Context, what any, mediaType string) (ocispec.Descriptor, error) {
	text, err := json.Marshal(what)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	err = content.WriteBlob(ctx, a.cs, "manifest-"+desc.Digest.String(), bytes.NewReader(text), desc)
	if errdefs.IsAlreadyExists(err) {
		err = nil
	}
	return desc, err
}
