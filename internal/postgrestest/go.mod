module github.com/clixnow/clixnow-go/internal/postgrestest

go 1.26
