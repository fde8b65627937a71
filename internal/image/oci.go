package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// WriteOCITar writes the image as an OCI layout in a tar file, under the name ref.
func WriteOCITar(img v1.Image, dst, ref string) error {
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: img,
		Descriptor: v1.Descriptor{Annotations: map[string]string{
			"io.containerd.image.name":          ref,
			"org.opencontainers.image.ref.name": ref,
		}},
	})
	return replace(dst, func(w io.Writer) error { return writeLayout(w, img, index) })
}

func writeLayout(out io.Writer, img v1.Image, index v1.ImageIndex) error {
	blobs := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	var err error
	if blobs["index.json"], err = index.RawManifest(); err != nil {
		return err
	}
	if !json.Valid(blobs["index.json"]) {
		return errors.New("the index is not JSON")
	}
	if err := addBlob(blobs, img.Digest, img.RawManifest); err != nil {
		return err
	}
	if err := addBlob(blobs, img.ConfigName, img.RawConfigFile); err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := addBlob(blobs, l.Digest, func() ([]byte, error) { return compressed(l) }); err != nil {
			return err
		}
	}
	w := &layerWriter{tar: tar.NewWriter(out)}
	for _, path := range sortedKeys(blobs) {
		w.file(path, 0o644, blobs[path])
	}
	if w.err != nil {
		return w.err
	}
	return w.tar.Close()
}

func addBlob(blobs map[string][]byte, digest func() (v1.Hash, error), read func() ([]byte, error)) error {
	h, err := digest()
	if err != nil {
		return err
	}
	b, err := read()
	if err != nil {
		return err
	}
	blobs["blobs/"+h.Algorithm+"/"+h.Hex] = b
	return nil
}

func compressed(l v1.Layer) ([]byte, error) {
	r, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// replace writes a file beside dst and then renames it, so that nobody imports half of it.
func replace(dst string, write func(io.Writer) error) error {
	f, err := os.Create(dst + ".tmp")
	if err != nil {
		return fmt.Errorf("write image archive: %w", err)
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(dst+".tmp", dst)
	}
	if err != nil {
		return fmt.Errorf("write image archive %s: %w", dst, err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
