// Calls the npm package remove.bg, unmodified: node removebg.js KEY IMAGE OUTPUT FIELDS
const { removeBackgroundFromImageFile, removeBackgroundFromImageBase64 } = require("remove.bg");
const fs = require("fs");
const [apiKey, path, outputFile, fields] = process.argv.slice(2);
const options = { apiKey, outputFile, ...JSON.parse(fields) };
const base64img = fs.readFileSync(path, "base64");
Promise.all([
  removeBackgroundFromImageFile({ ...options, path }),
  removeBackgroundFromImageBase64({ ...options, outputFile: outputFile + ".json.png", base64img }),
]).then(
  (results) => console.log(JSON.stringify(results.map(({ base64img, ...rest }) => rest))),
  (errors) => { console.error(JSON.stringify(errors)); process.exit(1); }
);
