package agent

import (
	"strings"
	"testing"

	"github.com/drover-io/drover/jobspecs"
	"github.com/drover-io/drover/state"
)

// TestJobFilesAreChecked: what the drivers say is found at its place in the file.
func TestJobFilesAreChecked(t *testing.T) {
	text := `job "web" {
  group "g" {
    network {
      port "http" { to = 80 }
    }
    task "box" {
      driver = "docker"
      config {
        image      = "nginx"
        privilegd  = true
        ports      = ["htp"]
        ulimit { files = "1" }
        healthchecks { disable = true }
      }
    }
    task "plain" {
      driver = "raw_exec"
      config { comand = "/bin/true" }
    }
  }
}
`
	job, diags := jobspecs.Parse(jobspecs.Source{Name: "web.hcl", Data: []byte(text)}, jobspecs.Inputs{Check: CheckJob})
	var said strings.Builder
	for _, d := range diags {
		said.WriteString(d.String() + "\n")
	}
	for _, want := range []string{
		`web.hcl:10:22: config.privilegd: unknown key; did you mean "privileged"?`,
		`web.hcl:11:22: config.ports: the group's network has no port "htp"; did you mean "http"?`,
		`config.ulimit: unknown limit "files"`,
		`config: unknown key "comand": did you mean "command"?`,
	} {
		if job != nil || !strings.Contains(said.String(), want) {
			t.Errorf("lacks %q:\n%s", want, said.String())
		}
	}
	_, warnings, err := parseJob([]byte(`{"ID": "web", "TaskGroups": [{"Name": "g", "Networks": [{"DynamicPorts": [{"Label": "http", "To": 80}]}],
		"Tasks": [{"Name": "t", "Driver": "docker", "Config": {"image": "nginx", "healthchecks": [{"disable": true}]}}]}]}`))
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "config.healthchecks: ignored") || !strings.Contains(warnings[1], "${NOMAD_HOST_PORT_http}") {
		t.Errorf("%q, %v", warnings, err)
	}
	_, _, err = parseJob([]byte(`{"ID": "web", "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t", "Driver": "docker", "Config": {}}]}]}`))
	if err == nil || !strings.Contains(err.Error(), `group "g" task "t": config.image: is missing`) {
		t.Error(err)
	}
	if problems, _ := CheckJob(&state.Job{TaskGroups: []state.TaskGroup{{Tasks: []state.Task{{Driver: "fake"}}}}}); len(problems) > 0 {
		t.Error(problems)
	}
}
