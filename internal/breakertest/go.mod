module github.com/clixnow/clixnow-go/internal/breakertest

go 1.25.0

require (
	github.com/clixnow/clixnow-go v0.0.0
	github.com/sony/gobreaker/v2 v2.4.0
	github.com/stretchr/testify v1.12.1
	go.uber.org/goleak v1.3.0
)

require (
	github.com/google/go-querystring v1.2.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/clixnow/clixnow-go => ../..
