#!/bin/sh
# Call each route of the HTTP API with curl: examples/http.sh URL KEY IMAGE
# `rmbg serve` prints a URL and a key. Files are written to the current folder.
set -eu
url=$1 image=$3
api() { curl --silent --show-error --fail-with-body --header "Authorization: Bearer $key" "$@"; }
json() { python3 -c "import json, sys; print(eval('json.load(sys.stdin)' + sys.argv[1]))" "$1"; }
say() { printf '\n# %s\n' "$*"; }
key=$2

say "GET /v1/models and /v1/presets: what requests may name"
api "$url/v1/models"
api "$url/v1/presets" > presets.json

say "POST /v1/images/remove: one image, at once; a JPEG for Amazon; the mask alone"
api --form "file=@$image" "$url/v1/images/remove" > cutout.png
api --form "file=@$image" --form 'request={"outputs": ["amazon-main"]}' "$url/v1/images/remove" > amazon.jpg
api --data-binary "@$image" --header "Content-Type: image/jpeg" "$url/v1/images/remove?output=mask" > mask.png

say "POST /v1/uploads, PUT: send an image that a job reads"
size=$(wc -c < "$image" | tr -d ' ')
files="{\"files\": [{\"name\": \"a.jpg\", \"bytes\": $size, \"type\": \"image/jpeg\"}]}"
api --header "Content-Type: application/json" --data "$files" "$url/v1/uploads" > uploads.json
source=$(json "['uploads'][0]['key']" < uploads.json)
to=$(json "['uploads'][0]['url']" < uploads.json)
api --upload-file "$image" --header "Content-Type: image/jpeg" "$url$to"

say "GET /v1/webhooks/secret: what verifies webhooks"
api "$url/v1/webhooks/secret"

say "POST /v1/jobs: a job; repeated with the same Idempotency-Key it is the same job"
wanted="{\"keys\": [\"$source\"], \"outputs\": [\"cutout\", \"amazon-main\"],
  \"webhook\": {\"url\": \"https://shop.example/rmbg\"}}"
for _ in 1 2; do
  job=$(api --header "Content-Type: application/json" --header "Idempotency-Key: $source" \
    --data "$wanted" "$url/v1/jobs" | json "['job_id']")
done

say "GET /v1/jobs/{id}/events: how it goes on, until it is done"
api --no-buffer "$url/v1/jobs/$job/events"

say "GET /v1/jobs and /v1/jobs/{id}: status"
api "$url/v1/jobs?limit=10" > jobs.json
api "$url/v1/jobs/$job"

say "GET /v1/jobs/{id}/results: records, in pages or as JSON lines"
api "$url/v1/jobs/$job/results?limit=100" > results.json
api --header "Accept: application/x-ndjson" "$url/v1/jobs/$job/results?links=1"

say "GET /v1/jobs/{id}/items/{index} and its files"
api "$url/v1/jobs/$job/items/0"
api --location "$url/v1/jobs/$job/items/0/files/cutout" > job-cutout.png
api --location --range 0-99 "$url/v1/jobs/$job/items/0/files/source" > begin-of-source

say "POST /v1/jobs/{id}/items/{index}/review: decide about it"
api --header "Content-Type: application/json" --data '{"decision": "accept", "note": "checked"}' \
  "$url/v1/jobs/$job/items/0/review"

say "POST and DELETE /v1/reviews/claim: the most doubtful images, for two minutes; give them back"
api --header "Content-Type: application/json" --data '{"tab": "t1", "count": 2}' "$url/v1/reviews/claim"
api --request DELETE "$url/v1/reviews/claim?tab=t1"

say "GET /v1/jobs/{id}/webhooks: who was told of the end; tell again"
hook=$(api "$url/v1/jobs/$job/webhooks" | json "['webhooks'][0]['webhook_id']")
api --request POST "$url/v1/jobs/$job/webhooks/$hook/resend"

say "GET /v1/jobs/{id}/archive: all files as ZIP, or their links"
api "$url/v1/jobs/$job/archive" > job.zip
api "$url/v1/jobs/$job/archive?format=links"

say "POST /v1/jobs/{id}/retry and /cancel: failed images again; no further image"
api --request POST "$url/v1/jobs/$job/retry"
api --request POST "$url/v1/jobs/$job/cancel"

say "POST /v1/jobs with a list of over 10,000 images, GET /v1/submissions/{id}"
python3 -c "import json; print(json.dumps({'keys': ['$source'] * 10001, 'naming': 'comfyui'}))" > long.json
id=$(api --header "Content-Type: application/json" --data @long.json "$url/v1/jobs" | json "['submission_id']")
api "$url/v1/submissions/$id"
say done
