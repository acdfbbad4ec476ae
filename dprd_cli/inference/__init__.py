"""From images, videos and addresses to detections, and to the files that hold them."""
