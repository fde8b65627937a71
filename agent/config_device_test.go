package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

func TestDeviceBlocks(t *testing.T) {
	const one = "client {\n device \"a/b/c\" {\n ids = [\"/dev/x\"]\n }\n}"
	c, _, err := load(t, ConfigSources{}, one, "client {\n device \"a/b/c\" {\n instance \"y\" {\n }\n paths = [\"/dev/y\"]\n }\n}")
	if err != nil {
		t.Fatal(err)
	}
	want := []DeviceConfig{{Name: "a/b/c", Paths: []string{"/dev/y"}, Instances: []DeviceInstanceConfig{{ID: "y"}}}}
	if diff := cmp.Diff(want, c.Client.Devices); diff != "" {
		t.Errorf("the later file does not win: %s", diff)
	}
	c, _, err = load(t, ConfigSources{}, `{"client": {"device": {"a/b/c": {"ids": ["/dev/x"], "attributes": {"n": 1}, "shared": true}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	host := runtime.HostDevice{
		NodeDevice: state.NodeDevice{Vendor: "a", Type: "b", Name: "c", Shared: true, Attributes: map[string]string{"n": "1"},
			Instances: []state.DeviceInstance{{ID: "/dev/x", Healthy: true}}},
		InstPaths: map[string][]string{"/dev/x": {"/dev/x"}},
	}
	if diff := cmp.Diff(host, c.Client.Devices[0].HostDevice()); diff != "" {
		t.Errorf("JSON: %s", diff)
	}
}

func TestBadDeviceBlocks(t *testing.T) {
	for text, want := range map[string]string{ // a semicolon is a new line
		`device "a/b/c" {; colour = "red";}`:                       `"colour" is not expected here`,
		`device "a/b/c" {; instance {}; }`:                         `missing id for instance`,
		`device {}`:                                                `missing name for device`,
		`device "a/b/c" {; ids = "x";}`:                            `ids must be a list of strings`,
		`device "a/b/c" {; shared = "perhaps";}`:                   `shared must be true or false`,
		`device "a/b/c" {; env { A = var.x };}`:                    `variables not allowed`,
		`device "a/b/c" {}`:                                        `client.device.a/b/c (a.hcl:2:1): has no instance`,
		`device "gpu" {; ids = ["x"];}`:                            `want a label "vendor/type/name"`,
		`device "a//c" {; ids = ["x"];}`:                           `a vendor, a type and a name are needed`,
		`device "a/b/c" {; ids = ["x", "x"];}`:                     `instance "x" is there twice`,
		`device "a/b/c" {; ids = ["x"]; paths = ["/etc/shadow"];}`: `want paths below /dev, not`,
		`device "a/b/c" {; ids = ["/dev/../etc/shadow"];}`:         `want paths below /dev, not`,
		`device "a/b/c" {; ids = ["x"]; env = { "A=B" = "c" };}`:   `is not a name of an environment variable`,
		`reserved {; cores = "all";}`:                              `client.reserved.cores (a.hcl:3:10): "all" is not a list of cores`,
	} {
		text = strings.ReplaceAll(text, ";", "\n")
		c, _, err := load(t, ConfigSources{}, "client {\n"+text+"\n}\ndata_dir = \"/d\"\nname=\"n\"")
		if err == nil {
			err = c.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", text, err, want)
		}
	}
}

// TestAccessRules: a file that turns access rules off is as good as one that says nothing of them; one that turns them on is
// refused, because nobody would be kept out.
func TestAccessRules(t *testing.T) {
	for text, want := range map[string]string{
		"acl {\n enabled = false\n}": "", "acl {\n}": "", "acl {\n enabled = false\n token_ttl = \"30s\"\n}": "acl.token_ttl is ignored",
	} {
		c, warnings, err := load(t, ConfigSources{}, text)
		if err != nil || c.ACL.Enabled || !strings.Contains(strings.Join(warnings, ""), want) || want == "" && len(warnings) > 0 {
			t.Errorf("%q: %v, warnings %q", text, err, warnings)
		}
	}
	c, _, err := load(t, ConfigSources{}, "acl {\n enabled = true\n}")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "acl.enabled (a.hcl:2:12): there are no access rules yet") {
		t.Errorf("got %v", err)
	}
}
