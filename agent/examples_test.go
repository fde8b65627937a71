package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples: every configuration in dist is one that the agent takes, without a warning, and means what its name says.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../dist/examples/*.hcl")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, path := range append(files, "../dist/drover.hcl") {
		c, warnings, err := LoadConfig(ConfigSources{Files: []string{path}, Host: func() (string, error) { return "host", nil }})
		if err == nil {
			err = c.Validate()
		}
		if err != nil || len(warnings)+len(c.Warnings()) > 0 {
			t.Errorf("%s: %v %v %v", path, err, warnings, c.Warnings())
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "# ") {
			t.Errorf("%s does not say what it is for", path)
		}
		switch name := filepath.Base(path); {
		case strings.Contains(name, "server") && (!c.Server.Enabled || c.Client.Enabled || c.Server.BootstrapExpect != 3):
			t.Errorf("%s is no server alone", path)
		case name == "client.hcl" && (c.Server.Enabled || !c.Client.Enabled || len(c.Server.RetryJoin) != 3):
			t.Errorf("%s is no client alone", path)
		case name == "production-server.hcl" && (c.Server.Snapshots.Interval == 0 || c.EncryptKey() == nil || !c.LogJSON):
			t.Errorf("%s lacks what production wants", path)
		}
	}
}
