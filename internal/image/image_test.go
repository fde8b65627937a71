package image

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestSameProgramSameImage(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "prog")
	if err := os.WriteFile(bin, []byte("not really a program"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := Config{Files: map[string]string{"/etc/b": "2", "/etc/a": "1"}, Cmd: []string{"x"}}
	img, err := Build(bin, c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Build(bin, c)
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := img.Digest()
	two, err2 := again.Digest()
	if one != two || err1 != nil || err2 != nil {
		t.Errorf("%s, %v and %s, %v", one, err1, two, err2)
	}
	cf, err := img.ConfigFile()
	if err != nil || cf.Config.Entrypoint[0] != "/bin/prog" || cf.Config.Env[0] != "PATH=/bin" {
		t.Errorf("%+v, %v", cf, err)
	}
}

func TestArchives(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "prog")
	if err := os.WriteFile(bin, []byte("not really a program"), 0o700); err != nil {
		t.Fatal(err)
	}
	img, err := Build(bin, Config{})
	if err != nil {
		t.Fatal(err)
	}
	docker, oci := filepath.Join(dir, "docker.tar"), filepath.Join(dir, "oci.tar")
	if err := errors.Join(WriteTar(img, docker, "example.test/prog:1"), WriteOCITar(img, oci, "example.test/prog:1")); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.test/prog:1")
	if err != nil {
		t.Fatal(err)
	}
	back, err := tarball.ImageFromPath(docker, &tag)
	if err == nil {
		err = validate.Image(back)
	}
	if err != nil {
		t.Error(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if names := list(t, oci); !names["index.json"] || !names["oci-layout"] || !names["blobs/sha256/"+digest.Hex] || len(names) != 5 {
		t.Errorf("the layout holds %v", names)
	}
	if err := WriteTar(img, docker, "Not A Name"); err == nil {
		t.Error("a bad name was taken")
	}
	if _, err := Build(filepath.Join(dir, "none"), Config{}); err == nil {
		t.Error("an image of nothing")
	}
}

func list(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := map[string]bool{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = true
	}
}
